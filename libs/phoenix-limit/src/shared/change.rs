//! What is done about a key beside deciding: a look at it, what becomes of an admission, blocks, and what other nodes say.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::call::{self, Change, Request, Settle, micros};
use super::link::LinkError;
use super::message::Message;
use super::node::{Question, Shared, count, units};
use super::situation::Phase;
use crate::{Decision, Key, Rule, Ticket};

impl Shared {
    /// What [`Self::decide`] would say, without a trace.
    pub(crate) async fn peek(&self, key: Key, rule: &Rule, cost: u32, now: Duration) -> Decision {
        let cost = units(cost);
        if let Some(refused) = self.memory.refused(key, rule, cost, self.clock.at(now)) {
            return refused;
        }
        self.ask(Question { key, rule, now }, &[Request { cost, mode: None }], false).await[0]
    }

    /// The admission is final.
    pub(crate) async fn confirm(&self, ticket: Ticket, now: Duration) {
        self.memory.confirm(ticket);
        self.settle(Settle::Confirm, ticket, now).await;
        // What Redis refused meanwhile, because it was not confirmed.
        self.memory.confirm(Ticket { cost: 0, ..ticket });
    }

    /// Takes the admission back.
    pub(crate) async fn refund(&self, ticket: Ticket, now: Duration) {
        self.memory.refund(ticket);
        if !self.leases.refund(ticket) {
            self.settle(Settle::Refund, ticket, now).await;
            // What Redis refused meanwhile.
            self.memory.refund(Ticket { cost: 0, ..ticket });
        }
    }

    async fn settle(&self, what: Settle, ticket: Ticket, now: Duration) {
        let situation = self.situation(ticket.key);
        if situation.phase == Phase::Down {
            return;
        }
        let names = self.names(ticket.key, &situation);
        let command = call::settle(&self.scripts, &names, what, &self.node, ticket);
        let reply = self.scripts.settle.send_one(&*self.link, command).await;
        self.note(ticket.key, reply.err().as_ref(), now);
    }

    /// Refuses a key.
    pub(crate) async fn block(&self, key: Key, length: Duration, now: Duration) {
        let at = self.clock.at(now);
        self.memory.block(key, length, at);
        if matches!(self.situation(key).phase, Phase::Merging | Phase::Joined) {
            self.late.add_block(key, length, micros(at));
        }
        self.change(key, Change::Block(length), now).await;
    }

    /// Ends a block.
    pub(crate) async fn lift(&self, key: Key, now: Duration) {
        self.memory.lift(key);
        self.change(key, Change::Lift, now).await;
        // A refusal of before may have been on its way.
        self.memory.lift(key);
    }

    /// Forgets a key.
    pub(crate) async fn reset(&self, key: Key, now: Duration) {
        self.memory.reset(key);
        self.leases.forget(|other| other == key);
        self.change(key, Change::Reset, now).await;
        self.memory.lift(key);
    }

    async fn change(&self, key: Key, what: Change, now: Duration) {
        let situation = self.situation(key);
        if situation.phase == Phase::Down {
            return;
        }
        let command = call::change(&self.scripts, &self.names(key, &situation), what);
        let reply = self.scripts.change.send_one(&*self.link, command).await;
        self.note(key, reply.err().as_ref(), now);
    }

    fn note(&self, key: Key, error: Option<&LinkError>, now: Duration) {
        count(&self.counters.calls, 1);
        if error.is_some() {
            count(&self.counters.errors, 1);
            self.lose(self.place(key), now);
        }
    }

    /// A message from the channel. What is none is passed over.
    pub(crate) fn message(&self, payload: &[u8], now: Duration) {
        let at = self.clock.at(now);
        let Some((resets, message)) = Message::read(self.options.installation, payload) else { return };
        if resets < self.resets.load(Ordering::Relaxed) {
            return;
        }
        match message {
            Message::Escrow(key, units) => {
                self.memory.lower_escrow(key, units);
                self.leases.lower_escrow(key, units);
            }
            Message::Blocked(key, until) => {
                let length = Duration::from_micros(until).saturating_sub(at);
                if !length.is_zero() {
                    self.memory.block(key, length, at);
                }
            }
            // Clears what is known of refusals; it names no units.
            Message::Refunded(key) => drop(self.memory.refund(Ticket { key, at: 0, cost: 0 })),
            Message::Lifted(key) => self.memory.lift(key),
            Message::Reset(key) => {
                self.memory.reset(key);
                self.leases.forget(|other| other == key);
            }
            Message::ResetAll(resets) => self.forget_all(resets),
        }
    }
}
