//! Who owns a key of a cluster: the slot of the key, and the master of each slot as `CLUSTER SLOTS` tells it (Redis
//! Cluster specification, "Key distribution model"). Pure; who is asked, and when, is `cluster.rs`'s.

use redis::{Arg, Cmd, Value};

use super::nodes::{MOST_NODES, Place, place};

/// Slots of a cluster.
const SLOTS: u16 = 16384;

/// The masters and their slots, and the other nodes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SlotMap {
    /// Sorted and without overlap.
    ranges: Vec<Range>,
    /// Each once.
    masters: Vec<Place>,
    /// Replicas, each once.
    replicas: Vec<Place>,
}

#[derive(Debug, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    /// Position among the masters.
    master: usize,
}

impl SlotMap {
    /// Reads the reply to `CLUSTER SLOTS`. `asked` is the host that replied: a node that does not know its own address
    /// names none, and is to be reached where it was asked. What has another form is left out; a row that
    /// overlaps with one before it is left out. Nodes beyond [`MOST_NODES`] are left out with their slots.
    pub(super) fn of(reply: Value, asked: &str) -> Self {
        let mut map = Self::default();
        let rows: Vec<Vec<Value>> = redis::from_redis_value(reply).unwrap_or_default();
        for row in rows {
            map.add(row, asked);
        }
        map.ranges.sort_by_key(|range| range.first);
        let mut free_from = 0;
        map.ranges.retain(|range| {
            let fits = range.first >= free_from;
            if fits {
                free_from = range.last + 1;
            }
            fits
        });
        map
    }

    fn add(&mut self, row: Vec<Value>, asked: &str) {
        let mut row = row.into_iter();
        let mut bound = || row.next().as_ref().and_then(slot);
        let (Some(first), Some(last)) = (bound(), bound()) else {
            return;
        };
        let mut nodes = row.map(|node| place(node, Some(asked)));
        let Some(master) = nodes.next().flatten() else { return };
        if first > last {
            return;
        }
        let known = self.masters.iter().position(|known| *known == master);
        let position = known.unwrap_or(self.masters.len());
        if known.is_none() {
            if self.len() >= MOST_NODES {
                return;
            }
            self.masters.push(master);
        }
        self.ranges.push(Range { first, last, master: position });
        for replica in nodes.flatten() {
            if self.len() < MOST_NODES && !self.replicas.contains(&replica) {
                self.replicas.push(replica);
            }
        }
    }

    fn len(&self) -> usize {
        self.masters.len() + self.replicas.len()
    }

    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Position of the slot's master in [`Self::masters`]; `None` when nobody serves the slot.
    pub(super) fn master_of(&self, slot: u16) -> Option<usize> {
        let after = self.ranges.partition_point(|range| range.first <= slot);
        let range = self.ranges.get(after.checked_sub(1)?)?;
        (slot <= range.last).then_some(range.master)
    }

    /// The masters.
    pub(super) fn masters(&self) -> &[Place] {
        &self.masters
    }

    /// The replicas.
    pub(super) fn replicas(&self) -> &[Place] {
        &self.replicas
    }
}

fn slot(value: &Value) -> Option<u16> {
    let Value::Int(number) = value else { return None };
    u16::try_from(*number).ok().filter(|slot| *slot < SLOTS)
}

/// The key that decides which master gets the command: of a script the first one, else the first argument. `None` when
/// there is neither, and any master will do. A command whose key stands elsewhere is sent to a wrong master, which
/// says where it belongs.
pub(super) fn key_of(command: &Cmd) -> Option<&[u8]> {
    let mut words = command.args_iter().map(|word| if let Arg::Simple(word) = word { word } else { &[][..] });
    let name = words.next()?;
    let has_keys_counted = [&b"EVAL"[..], b"EVALSHA", b"EVAL_RO", b"EVALSHA_RO", b"FCALL", b"FCALL_RO"]
        .iter()
        .any(|script| name.eq_ignore_ascii_case(script));
    if !has_keys_counted {
        return words.next();
    }
    let keys = words.nth(1)?;
    if keys == b"0" { None } else { words.next() }
}

/// The slot of a key. Only what stands between the first `{` and the next `}` counts, unless that is nothing.
pub(super) fn slot_of(key: &[u8]) -> u16 {
    crc16(tag(key).unwrap_or(key)) % SLOTS
}

fn tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|byte| *byte == b'{')?;
    let inside = key.get(open + 1..)?;
    let close = inside.iter().position(|byte| *byte == b'}')?;
    inside.get(..close).filter(|tag| !tag.is_empty())
}

/// CRC-16/XMODEM, bit by bit: the tags of our keys are a few bytes.
fn crc16(bytes: &[u8]) -> u16 {
    const POLYNOMIAL: u16 = 0x1021;
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc: u16, _bit| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ POLYNOMIAL }
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redis::Value;
    use redis::cluster_routing::Slot;

    use super::*;

    fn node(host: &str, port: i64) -> Value {
        Value::Array(vec![Value::BulkString(host.as_bytes().to_vec()), Value::Int(port), Value::Nil])
    }

    fn row(first: i64, last: i64, nodes: Vec<Value>) -> Value {
        Value::Array([Value::Int(first), Value::Int(last)].into_iter().chain(nodes).collect())
    }

    proptest! {
        #[test]
        fn slots_are_those_of_the_driver(key in "[a-c{}]{0,12}|\\PC{0,20}") {
            let ours = slot_of(key.as_bytes());
            prop_assert_eq!(Slot::new(ours), Some(Slot::for_key(key)));
        }

        #[test]
        fn every_slot_has_the_first_owner_that_was_named(
            rows in proptest::collection::vec((0_u16..60, 0_u16..60, 0_usize..5), 0..8),
            slot in 0_u16..64,
        ) {
            let reply = rows.iter().map(|(first, last, owner)| {
                row(i64::from(*first), i64::from(*last), vec![node(&format!("m{owner}"), 1)])
            });
            let map = SlotMap::of(Value::Array(reply.collect()), "asked");
            // The model: of the rows that are no nonsense, in order of their beginning, one that overlaps is left out.
            let mut sorted: Vec<_> = rows.iter().filter(|(first, last, _)| first <= last).collect();
            sorted.sort_by_key(|(first, ..)| *first);
            let mut owners = [None; 64];
            for (first, last, owner) in sorted {
                let range = usize::from(*first)..=usize::from(*last);
                if owners[range.clone()].iter().all(Option::is_none) {
                    owners[range].fill(Some(*owner));
                }
            }
            let named = map.master_of(slot).map(|position| map.masters()[position].0.clone());
            prop_assert_eq!(named, owners[usize::from(slot)].map(|owner| format!("m{owner}")));
        }
    }

    #[test]
    fn slots_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot_of(b"foo{{bar}}zap"), crc16(b"{bar") % SLOTS);
        assert_eq!(slot_of(b""), 0);
    }

    #[test]
    fn the_first_key_counts() {
        let key = |words: &[&str]| {
            let mut command = Cmd::new();
            for word in words {
                command.arg(word);
            }
            key_of(&command).map(|key| String::from_utf8(key.to_vec()).expect("text"))
        };
        assert_eq!(key(&["GET", "a"]).as_deref(), Some("a"));
        assert_eq!(key(&["evalsha", "0123", "2", "a", "b", "c"]).as_deref(), Some("a"));
        assert_eq!(key(&["EVAL", "return 1", "0", "c"]), None);
        assert_eq!(key(&["EVAL", "return 1"]), None);
        assert_eq!(key(&["PING"]), None);
        assert_eq!(key(&[]), None);
    }

    #[test]
    fn masters_replicas_and_a_node_without_an_address() {
        let reply = Value::Array(vec![
            row(0, 5, vec![node("a", 1), node("b", 2)]),
            row(10, 16383, vec![node("", 3), node("b", 2), node("?", 4)]),
            row(6, 6, vec![node("a", 1)]),
        ]);
        let map = SlotMap::of(reply, "here");
        assert_eq!(map.masters(), [("a".to_owned(), 1), ("here".to_owned(), 3)]);
        assert_eq!(map.replicas(), [("b".to_owned(), 2)]);
        let owners = [0, 5, 6, 7, 9, 10, 16383].map(|slot| map.master_of(slot));
        assert_eq!(owners, [Some(0), Some(0), Some(0), None, None, Some(1), Some(1)]);
    }

    #[test]
    fn garbage_is_left_out() {
        let garbage = [
            Value::Nil,
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![row(0, 16384, vec![node("a", 1)]), row(-1, 3, vec![node("a", 1)])]),
            Value::Array(vec![row(5, 4, vec![node("a", 1)]), row(1, 2, vec![]), row(1, 2, vec![Value::Nil])]),
            Value::Array(vec![row(1, 2, vec![node("a", 70_000)]), row(1, 2, vec![node("?", 1)])]),
        ];
        for reply in garbage {
            assert!(SlotMap::of(reply, "here").is_empty());
        }
        let many = (0..5000).map(|number| row(number, number, vec![node("a", number + 1)])).collect();
        let map = SlotMap::of(Value::Array(many), "here");
        assert_eq!((map.len(), map.ranges.len()), (MOST_NODES, MOST_NODES));
    }
}
