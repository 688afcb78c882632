//! Tokens of outside identity providers that were verified, so that a signature is checked once for each token.

use phoenix_auth::model::TokenHash;
use phoenix_auth::ports::PooledToken;
use quick_cache::sync::Cache;

/// At most a number of tokens, about 120 bytes each; those least worth keeping go first.
///
/// Holds nothing that a revocation could make wrong: it says which session a token belongs to, never whether the
/// session still counts.
pub(super) struct TokenPool {
    tokens: Cache<TokenHash, PooledToken>,
}

impl TokenPool {
    pub(super) fn new(capacity: usize) -> Self {
        Self { tokens: Cache::new(capacity) }
    }

    pub(super) fn get(&self, hash: &TokenHash) -> Option<PooledToken> {
        self.tokens.get(hash)
    }

    pub(super) fn insert(&self, hash: &TokenHash, token: PooledToken) {
        self.tokens.insert(*hash, token);
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }
}

#[cfg(test)]
mod tests {
    use phoenix_auth::model::Timestamp;

    use super::*;

    // spec: A9
    #[test]
    fn a_flood_of_tokens_stays_within_the_capacity() {
        let pool = TokenPool::new(100);
        let session = TokenHash::from_bytes([7; 32]);
        let token = PooledToken { session, expires_at: Timestamp::from_millis(5), ended: false };
        for number in 0_u32..10_000 {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            pool.insert(&TokenHash::from_bytes(bytes), token);
        }
        assert!((1..=100).contains(&pool.len()), "{}", pool.len());
    }
}
