//! What only the embedded database can get wrong: files, full disks, several handles.

mod files;
mod handles;
mod plans;
