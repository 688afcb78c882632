//! Merges a batch of activities into one line for each session and one for each user, for both databases.

use std::collections::BTreeMap;
use std::net::IpAddr;

use phoenix_auth::model::{SessionId, Timestamp, UserId};
use phoenix_auth::ports::Activity;

/// How a session was used last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LastUse {
    /// When.
    pub(crate) at: Timestamp,
    /// Where from, with the time of that use: the last one whose address is known.
    pub(crate) from: Option<(Timestamp, IpAddr)>,
}

/// The last use of each session, in order of their ids, which is the order of locks. Of uses at the same moment the
/// later in the batch counts.
pub(crate) fn uses(batch: &[Activity]) -> BTreeMap<SessionId, LastUse> {
    let mut uses = BTreeMap::new();
    for Activity { session_id, at, ip, .. } in batch {
        let last = uses.entry(*session_id).or_insert(LastUse { at: *at, from: None });
        last.at = last.at.max(*at);
        if let Some(ip) = ip
            && last.from.is_none_or(|(since, _)| since <= *at)
        {
            last.from = Some((*at, *ip));
        }
    }
    uses
}

/// When each user was last active, in order of their ids.
pub(crate) fn users(batch: &[Activity]) -> BTreeMap<UserId, Timestamp> {
    let mut users = BTreeMap::new();
    for Activity { user_id, at, .. } in batch {
        let last = users.entry(*user_id).or_insert(*at);
        *last = (*last).max(*at);
    }
    users
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_latest_time_and_the_latest_known_address_are_kept() {
        let (session_id, user_id) = (SessionId::from_uuid(Uuid::nil()), UserId::from_uuid(Uuid::max()));
        let at = Timestamp::from_millis;
        let used = |millis, ip: &str| Activity { session_id, user_id, at: at(millis), ip: ip.parse().ok() };
        let last = |batch: &[Activity]| uses(batch)[&session_id];
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert_eq!(last(&[used(5, ""), used(3, "")]), LastUse { at: at(5), from: None });
        let expected = LastUse { at: at(9), from: Some((at(7), ip("192.0.2.2"))) };
        assert_eq!(last(&[used(9, ""), used(7, "192.0.2.2"), used(6, "192.0.2.1")]), expected);
        let expected = LastUse { at: at(7), from: Some((at(7), ip("192.0.2.1"))) };
        assert_eq!(last(&[used(7, "192.0.2.2"), used(7, "192.0.2.1")]), expected);
        assert_eq!(users(&[used(1, ""), used(9, ""), used(3, "")])[&user_id], at(9));
        assert!(uses(&[]).is_empty() && users(&[]).is_empty());
    }
}
