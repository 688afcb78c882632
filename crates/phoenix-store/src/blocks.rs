//! What both databases do alike with blocks before and after the SQL.

use std::collections::{BTreeMap, HashMap};

use phoenix_auth::model::{Block, BlockCause, BlockId, BlockKey, BlockSubject, Timestamp, UserId};
use phoenix_auth::ports::{BlockChange, BlockCursor};
use uuid::Uuid;

use crate::decode::{self, DecodeError};

/// The blocks in as few rounds as have no key twice, each in the order of keys: written one after the other, the rounds
/// do what the blocks would. Usually there is one.
pub(crate) fn rounds(blocks: &[Block]) -> Vec<Vec<&Block>> {
    let mut seen: HashMap<BlockKey, usize> = HashMap::new();
    let mut rounds: Vec<BTreeMap<BlockKey, &Block>> = Vec::new();
    for block in blocks {
        let round = seen.entry(block.key).and_modify(|round| *round += 1).or_insert(0);
        if *round == rounds.len() {
            rounds.push(BTreeMap::new());
        }
        rounds[*round].insert(block.key, block);
    }
    rounds.into_iter().map(|round| round.into_values().collect()).collect()
}

/// The columns of a block, as a database gives them.
pub(crate) struct BlockRow<'r> {
    pub(crate) key: &'r [u8],
    pub(crate) id: Uuid,
    pub(crate) class: String,
    pub(crate) subject: String,
    pub(crate) cause: &'r str,
    pub(crate) reason: String,
    pub(crate) since_ms: i64,
    pub(crate) until_ms: i64,
    pub(crate) made_by: Option<Uuid>,
    pub(crate) lifted_ms: Option<i64>,
    pub(crate) changed: i64,
}

impl BlockRow<'_> {
    pub(crate) fn decode(self) -> Result<BlockChange, DecodeError> {
        let key = BlockKey::from_bytes(self.key.try_into().map_err(|_| DecodeError("blocks.key"))?);
        let cause = BlockCause::from_stored(self.cause).ok_or(DecodeError("blocks.cause"))?;
        let cursor = BlockCursor { changed: changed(self.changed)?, key: Some(key) };
        let block = Block {
            id: BlockId::from_uuid(self.id),
            key,
            class: self.class,
            subject: BlockSubject::bounded(self.subject),
            cause,
            reason: self.reason,
            since: decode::time(self.since_ms),
            until: decode::time(self.until_ms),
            by: self.made_by.map(UserId::from_uuid),
        };
        Ok(BlockChange { block, lifted_at: self.lifted_ms.map(Timestamp::from_millis), cursor })
    }
}

/// The number of a change.
pub(crate) fn changed(number: i64) -> Result<u64, DecodeError> {
    u64::try_from(number).map_err(|_| DecodeError("blocks.changed"))
}

/// The two columns of a cursor; no key is less than every key.
pub(crate) fn cursor_columns(cursor: BlockCursor) -> (i64, Vec<u8>) {
    let changed = i64::try_from(cursor.changed).unwrap_or(i64::MAX);
    (changed, cursor.key.map_or_else(Vec::new, |key| key.as_bytes().to_vec()))
}
