//! Which bytes a connection sends next: the requests of a plan, put together beforehand as batches.

use anyhow::{Result, ensure};

use super::{Plan, Requests};

/// The batches of a plan.
pub(super) struct Batches {
    bytes: Vec<Vec<u8>>,
    /// Requests in each.
    pub(super) size: usize,
    goes_round: bool,
    connections: usize,
}

impl Batches {
    /// Batches of `size` requests.
    pub(super) fn new(plan: &Plan, size: usize) -> Result<Self> {
        let goes_round = matches!(plan.requests, Requests::Cycle(_));
        let requests = match &plan.requests {
            Requests::Same(request) => std::slice::from_ref(request),
            Requests::PerConnection(all) | Requests::Cycle(all) => all.as_slice(),
        };
        ensure!(!requests.is_empty(), "a load needs a request");
        let batch = |first: usize| -> Vec<u8> {
            let member = |offset| if goes_round { (first + offset) % requests.len() } else { first };
            (0..size).flat_map(|offset| requests[member(offset)].iter().copied()).collect()
        };
        let bytes = (0..requests.len()).map(batch).collect();
        Ok(Self { bytes, size, goes_round, connections: plan.connections })
    }

    /// Index of the first batch of connection `number`; each begins at another place.
    pub(super) fn first(&self, number: usize) -> usize {
        if self.goes_round {
            number * self.bytes.len() / self.connections.max(1)
        } else {
            number % self.bytes.len()
        }
    }

    /// Index of the batch after `index` on the same connection.
    pub(super) fn after(&self, index: usize) -> usize {
        if self.goes_round { (index + self.size) % self.bytes.len() } else { index }
    }

    /// The bytes of batch `index`.
    pub(super) fn bytes(&self, index: usize) -> &[u8] {
        &self.bytes[index]
    }
}

#[cfg(test)]
mod tests {
    use super::Batches;
    use crate::bench::load::{Plan, Requests};

    fn batches(requests: Requests, connections: usize, size: usize) -> Batches {
        let plan = Plan { connections, ..Plan::new(([127, 0, 0, 1], 1).into(), requests) };
        Batches::new(&plan, size).expect("there are requests")
    }

    fn list() -> Vec<Vec<u8>> {
        ["a", "b", "c"].map(|text| text.as_bytes().to_vec()).to_vec()
    }

    #[test]
    fn a_cycle_goes_round_from_different_places() {
        let batches = batches(Requests::Cycle(list()), 3, 2);
        let (first, second) = (batches.first(0), batches.first(1));
        assert_eq!((batches.bytes(first), batches.bytes(second)), (b"ab".as_slice(), b"bc".as_slice()));
        let next = batches.after(first);
        assert_eq!(batches.bytes(next), b"ca");
    }

    #[test]
    fn a_connection_may_keep_its_own_request() {
        let batches = batches(Requests::PerConnection(list()), 5, 2);
        let fifth = batches.first(4);
        assert_eq!(batches.bytes(fifth), b"bb");
        assert_eq!(batches.after(fifth), fifth);
    }
}
