//! What is noticed when a session is used somewhere else than before, and what is done about it.

use super::{Auth, ClientInfo};
use crate::model::{
    ActiveSession, EventId, EventKind, SecurityEvent, Timestamp, is_impossible_travel, same_network,
};
use crate::policy::Reaction;

/// One thing noticed.
struct Signal {
    kind: EventKind,
    reaction: Reaction,
    detail: String,
}

impl Auth {
    /// Looks at a session used in an environment that is not known to be in order. Says what is to be done, `None` when
    /// nothing is, and records what is noticed, once while that is remembered.
    pub(super) fn notice(
        &self,
        active: &ActiveSession,
        client: &ClientInfo,
        now: Timestamp,
    ) -> Option<Reaction> {
        let signals = self.signals(active, client, now);
        // A device that is refused goes on asking: that is no news.
        let noticed = signals
            .iter()
            .fold(client.environment, |hash, signal| hash.wrapping_mul(31).wrapping_add(signal.kind as u64));
        let is_news = !signals.is_empty() && active.environments.tell(noticed);
        for signal in signals.iter().filter(|_| is_news) {
            self.note_event(signal.kind, active, client, signal.detail.clone());
        }
        signals.iter().map(|signal| signal.reaction).max()
    }

    fn signals(&self, active: &ActiveSession, client: &ClientInfo, now: Timestamp) -> Vec<Signal> {
        let (policy, session) = (self.parts.policy.signals, &active.session);
        let mut signals = Vec::new();
        if let (Some(opened_on), Some(used_on)) = (&session.fingerprint, &client.fingerprint) {
            let difference = opened_on.difference(used_on);
            if difference >= policy.device_threshold {
                let changes: Vec<_> = opened_on.changes(used_on).collect();
                let detail = format!("difference {difference} of 100: {}", changes.join(", "));
                signals.push(Signal { kind: EventKind::DeviceChanged, reaction: policy.device, detail });
            }
        }
        let (Some(last), Some(ip)) = (session.last_ip.or(session.ip_address), client.ip) else {
            return signals;
        };
        if same_network(last, ip) {
            return signals;
        }
        let detail = String::new();
        signals.push(Signal { kind: EventKind::NetworkChanged, reaction: policy.network, detail });
        let Some(geo) = &self.parts.geo else { return signals };
        let (Some(from), Some(to)) = (geo.locate(last), geo.locate(ip)) else { return signals };
        if from.is_in_another_country_than(&to) {
            let name = |place: &crate::model::Place| {
                place.country.map_or_else(|| "unknown".to_owned(), |country| country.as_str().to_owned())
            };
            let detail = format!("from {} to {}", name(&from), name(&to));
            signals.push(Signal { kind: EventKind::CountryChanged, reaction: policy.country, detail });
        }
        if is_impossible_travel((&from, session.last_seen_at), (&to, now)) {
            let km = from.distance_km(&to).unwrap_or_default();
            let seconds = now.since(session.last_seen_at).as_secs();
            let detail = format!("{km:.0} km in {seconds} s");
            signals.push(Signal { kind: EventKind::ImpossibleTravel, reaction: policy.travel, detail });
        }
        signals
    }

    /// Records an event about a session.
    pub(super) fn note_event(
        &self,
        kind: EventKind,
        active: &ActiveSession,
        client: &ClientInfo,
        detail: String,
    ) {
        let at = self.now();
        let id = EventId::generate(at, &*self.parts.entropy);
        let (user_id, session_id) = (active.user.id, Some(active.session.id));
        self.parts.events.note(SecurityEvent { id, at, kind, user_id, session_id, ip: client.ip, detail });
    }
}
