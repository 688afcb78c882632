//! Argon2id (RFC 9106) hashes of passwords, in PHC string form.

use std::fmt;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash as Phc, Salt};
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};

use super::Password;
use crate::ports::Entropy;

/// Salt length in bytes (RFC 9106 section 3.1 recommends 16).
const SALT_BYTES: usize = 16;
/// Length of a hash in bytes, as the library makes them.
const OUTPUT_BYTES: usize = 32;
/// A stored hash that asks for more than this is refused instead of exhausting the machine.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_ITERATIONS: u32 = 20;
const MAX_PARALLELISM: u32 = 16;

/// Cost of a hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HashParams {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
}

/// A hash in PHC string form. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// A hash could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PasswordHashError {
    /// The parameters are outside what Argon2 allows.
    #[error("the Argon2 parameters are not allowed")]
    Params(#[source] argon2::Error),
    /// Hashing failed.
    #[error("hashing the password failed")]
    Hash(#[source] argon2::password_hash::Error),
    /// A stored hash is not an Argon2id PHC string within our ceilings.
    #[error("the stored password hash is not usable")]
    Stored,
}

impl HashParams {
    /// Hashes `password` with a fresh salt. Takes tens of milliseconds of CPU and `memory_kib` of memory.
    pub fn hash(
        &self,
        password: &Password,
        entropy: &dyn Entropy,
    ) -> Result<PasswordHash, PasswordHashError> {
        let mut salt = [0_u8; SALT_BYTES];
        entropy.fill(&mut salt);
        let hash: Phc = self
            .argon2()?
            .hash_password_with_salt(password.expose().as_bytes(), &salt)
            .map_err(PasswordHashError::Hash)?;
        Ok(PasswordHash(hash.to_string()))
    }

    /// A hash of no password at all, at this cost: its output is random. Verifying against it takes as long as
    /// against any other and always fails. Making it costs nothing.
    pub fn decoy(&self, entropy: &dyn Entropy) -> Result<PasswordHash, PasswordHashError> {
        let mut random = [0_u8; SALT_BYTES + OUTPUT_BYTES];
        entropy.fill(&mut random);
        let (salt, output) = random.split_at(SALT_BYTES);
        let phc = Phc {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&self.params()?).map_err(|_| PasswordHashError::Stored)?,
            salt: Some(Salt::new(salt).map_err(|_| PasswordHashError::Stored)?),
            hash: Some(Output::new(output).map_err(|_| PasswordHashError::Stored)?),
        };
        Ok(PasswordHash(phc.to_string()))
    }

    fn argon2(&self) -> Result<Argon2<'static>, PasswordHashError> {
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params()?))
    }

    fn params(&self) -> Result<Params, PasswordHashError> {
        Params::new(self.memory_kib, self.iterations, self.parallelism, None)
            .map_err(PasswordHashError::Params)
    }
}

impl PasswordHash {
    /// From a string read back from a store.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The PHC string, for a store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `password` is the one hashed here. Costs what the hash's own parameters say.
    pub fn verify(&self, password: &Password) -> Result<bool, PasswordHashError> {
        let phc = Phc::new(&self.0).map_err(|_| PasswordHashError::Stored)?;
        let params = self.params()?;
        match params.argon2()?.verify_password(password.expose().as_bytes(), &phc) {
            Ok(()) => Ok(true),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(PasswordHashError::Hash(error)),
        }
    }

    /// Whether the hash was made with less than `wanted` in any parameter.
    #[must_use]
    pub fn is_weaker_than(&self, wanted: &HashParams) -> bool {
        self.params().is_ok_and(|made| {
            made.memory_kib < wanted.memory_kib
                || made.iterations < wanted.iterations
                || made.parallelism < wanted.parallelism
        })
    }

    fn params(&self) -> Result<HashParams, PasswordHashError> {
        let phc = Phc::new(&self.0).map_err(|_| PasswordHashError::Stored)?;
        if phc.algorithm.as_str() != "argon2id" {
            return Err(PasswordHashError::Stored);
        }
        let params = Params::try_from(&phc).map_err(|_| PasswordHashError::Stored)?;
        let made = HashParams {
            memory_kib: params.m_cost(),
            iterations: params.t_cost(),
            parallelism: params.p_cost(),
        };
        let within = made.memory_kib <= MAX_MEMORY_KIB
            && made.iterations <= MAX_ITERATIONS
            && made.parallelism <= MAX_PARALLELISM;
        if within { Ok(made) } else { Err(PasswordHashError::Stored) }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::testing::CountingEntropy;

    const CHEAP: HashParams = HashParams { memory_kib: 64, iterations: 1, parallelism: 1 };

    fn password(text: &str) -> Password {
        Password::new(text.to_owned()).expect("within bounds")
    }

    #[test]
    fn verifies_the_right_password_only() {
        let hash = CHEAP.hash(&password("right"), &CountingEntropy::default()).expect("cheap hash");
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        assert!(hash.verify(&password("right")).expect("usable"));
        assert!(!hash.verify(&password("wrong")).expect("usable"));
    }

    #[test]
    fn a_decoy_looks_like_any_hash_and_matches_nothing() {
        let decoy = CHEAP.decoy(&CountingEntropy::default()).expect("allowed parameters");
        let real = CHEAP.hash(&password("x"), &CountingEntropy::default()).expect("cheap hash");
        assert_eq!(decoy.as_str().len(), real.as_str().len());
        assert!(!decoy.verify(&password("x")).expect("usable"));
        assert!(!decoy.is_weaker_than(&CHEAP));
    }

    #[test]
    fn notices_when_parameters_rose() {
        let hash = CHEAP.hash(&password("x"), &CountingEntropy::default()).expect("cheap hash");
        assert!(!hash.is_weaker_than(&CHEAP));
        assert!(hash.is_weaker_than(&HashParams { iterations: 2, ..CHEAP }));
        assert!(hash.is_weaker_than(&HashParams { memory_kib: 65, ..CHEAP }));
    }

    #[test]
    fn a_stored_hash_cannot_exhaust_the_machine() {
        for stored in [
            "$argon2id$v=19$m=4194304,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2i$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "plain",
            "",
        ] {
            let outcome = PasswordHash::from_stored(stored.to_owned()).verify(&password("x"));
            assert!(matches!(outcome, Err(PasswordHashError::Stored)), "{stored}");
        }
    }
}
