//! Runs the seeds through their targets, and what is near them: every beginning, and its bytes with a bit
//! changed. So the properties hold in every test run, without the engine.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use phoenix_fuzz::{TARGETS, named};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Longest seed in bytes: as many beginnings are tried.
const MAX_SEED_BYTES: usize = 512;
/// Longest seed of which each bit is changed, in bytes. Of a longer one it is a bit of nearly every byte.
const MAX_WHOLE_BYTES: usize = 128;

#[test]
fn properties_hold_for_all_seeds_and_their_neighbours() {
    let mut failed = Vec::new();
    for target in TARGETS {
        for entry in fs::read_dir(folder("seeds").join(target.name)).expect("a folder for each target") {
            let path = entry.expect("a folder's entry").path();
            let seed = fs::read(&path).expect("a readable seed");
            assert!(seed.len() <= MAX_SEED_BYTES, "{} is too long", path.display());
            let holds = |data: &[u8]| catch_unwind(|| (target.run)(data)).is_ok();
            if let Some(data) = with_neighbours(&seed).find(|data| !holds(data)) {
                failed.push(format!("{}: \"{}\"", path.display(), data.escape_ascii()));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn with_neighbours(seed: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let beginnings = (0..=seed.len()).rev().map(|end| seed[..end].to_vec());
    let step = if seed.len() > MAX_WHOLE_BYTES { 9 } else { 1 };
    let changed = (0..8 * seed.len()).step_by(step).map(|bit| {
        let mut changed = seed.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        changed
    });
    beginnings.chain(changed)
}

#[test]
fn every_file_is_a_target_and_every_folder_of_seeds_belongs_to_one() {
    let names = |folder: &str| {
        let entries = fs::read_dir(self::folder(folder)).expect("a folder");
        let stems =
            entries.map(|entry| entry.expect("an entry").path().file_stem().expect("a name").to_owned());
        let mut names: Vec<String> = stems.map(|stem| stem.to_string_lossy().into_owned()).collect();
        names.retain(|name| name != "mod");
        names.sort();
        names
    };
    let targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names("src/targets"), targets);
    assert_eq!(names("seeds"), targets);
    assert!(named("path").is_some() && named("nothing").is_none());
}
