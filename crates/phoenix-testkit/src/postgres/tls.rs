//! `PostgreSQL` servers that offer TLS.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::time::Duration;

use anyhow::{Context, Result};

use super::Postgres;
use crate::certificates::{Authority, Leaf};
use crate::wait;

const RELOAD_BOUND: Duration = Duration::from_secs(30);

impl Postgres {
    /// Offers TLS with this certificate to new connections from now on, in place of one it may have had. Of clients of
    /// this authority it takes a certificate.
    ///
    /// # Errors
    /// When the server does not answer.
    ///
    /// # Panics
    /// When it has not read its settings again after 30 seconds.
    pub fn serve_tls(&self, leaf: &Leaf, clients: &Authority) -> Result<()> {
        let folder = self.guardian.directory().join("data");
        let owner = fs::metadata(&folder).context("the data directory")?;
        let clients = clients.pem();
        let contents =
            [("server.crt", &leaf.certificate_pem), ("server.key", &leaf.key_pem), ("clients.crt", &clients)];
        for (name, text) in contents {
            let path = folder.join(name);
            fs::write(&path, text).context("write a certificate")?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            chown(&path, Some(owner.uid()), Some(owner.gid())).context("give it to the server")?;
        }
        // Each in a session of its own: ALTER SYSTEM cannot be in a block of statements.
        self.execute("postgres", "ALTER SYSTEM SET ssl = on")?;
        self.execute("postgres", "ALTER SYSTEM SET ssl_ca_file = 'clients.crt'")?;
        let loaded = || self.query("postgres", "SELECT pg_conf_load_time()::text");
        let before = loaded()?;
        self.execute("postgres", "SELECT pg_reload_conf()")?;
        wait::until_blocking(RELOAD_BOUND, "PostgreSQL to read its settings again", || {
            loaded().is_ok_and(|now| now != before)
        });
        Ok(())
    }
}
