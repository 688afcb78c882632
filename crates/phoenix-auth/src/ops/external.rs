//! Sessions of outside identity providers: opened on first sight, ended at once, kept in step with the provider.

use std::sync::Arc;

use super::authenticate::{AuthenticateError, Verdict};
use super::{Auth, ClientInfo, Rejection};
use crate::error::AuthError;
use crate::model::{
    EventId, EventKind, Identity, Moment, SecurityEvent, Session, SessionId, Timestamp, TokenHash, User,
    UserId, device_label,
};
use crate::ports::{
    EndScope, ExternalOpened, ExternalProfile, NewExternalSession, PooledToken, SessionsEnded, StoreError,
    Tier, VerifiedToken, VerifyError,
};

impl Auth {
    /// Whose session an outside token belongs to. A token that was verified before costs two look-ups in memory.
    pub(super) async fn authenticate_external(
        &self,
        hash: &TokenHash,
        text: &str,
        client: &ClientInfo,
        now: Moment,
    ) -> Result<Verdict, AuthenticateError> {
        let Some(verifier) = &self.parts.identity else { return Ok(Err(Rejection::Malformed)) };
        if let Some(pooled) = self.parts.cache.pooled_token(hash) {
            if now.wall >= pooled.expires_at {
                return Ok(Err(Rejection::TokenExpired));
            }
            if pooled.ended {
                return Ok(Err(Rejection::Unknown));
            }
            match self.look_up(&pooled.session, now).await? {
                Err(Rejection::Unknown) => {}
                verdict => return Ok(verdict),
            }
        }
        let token = match verifier.verify(text, now).await {
            Ok(token) => token,
            Err(VerifyError::Invalid) => return Ok(Err(Rejection::Malformed)),
            Err(VerifyError::Expired) => return Ok(Err(Rejection::TokenExpired)),
            Err(VerifyError::NotAllowed) => return Ok(Err(Rejection::NotAllowed)),
            Err(VerifyError::Unavailable) => return Err(AuthenticateError::ProviderUnavailable),
        };
        let session = TokenHash::of_external_session(&token.identity, &token.session, &self.parts.keys);
        let mut verdict = self.look_up(&session, now).await?;
        if matches!(verdict, Err(Rejection::Unknown)) {
            verdict = self.open_external(&token, session, client, now).await?;
        }
        // What is refused for another reason than that it has ended for good may count later.
        let ended = matches!(verdict, Err(Rejection::Unknown | Rejection::Expired));
        if verdict.is_ok() || ended {
            self.parts.cache.pool_token(hash, PooledToken { session, expires_at: token.expires_at, ended });
        }
        if let Ok(caller) = &verdict {
            verifier.seen(&token, caller.active.user.id, caller.active.session.id);
            self.follow_profile(&token, &caller.active.user, now.wall).await;
        }
        Ok(verdict)
    }

    /// First sight of a session, and perhaps of its user.
    async fn open_external(
        &self,
        token: &VerifiedToken,
        hash: TokenHash,
        client: &ClientInfo,
        now: Moment,
    ) -> Result<Verdict, StoreError> {
        let limits = &self.parts.policy.sessions.default;
        let entropy = &*self.parts.entropy;
        let user_id = UserId::generate(now.wall, entropy);
        let new = NewExternalSession {
            identity: token.identity.clone(),
            user_id,
            profile: token.user.clone(),
            session: Session {
                id: SessionId::generate(now.wall, entropy),
                user_id,
                created_at: now.wall,
                expires_at: now.wall.plus(limits.absolute_timeout),
                last_seen_at: now.wall,
                provider: token.provider,
                device: device_label(&client.user_agent),
                ip_address: client.ip,
                last_ip: client.ip,
                fingerprint: client.fingerprint,
            },
            external_id: token.session.clone(),
            token_hash: hash,
            user_agent: client.user_agent.clone(),
            issued_at: token.issued_at,
            cap: self.session_cap(limits, now.wall),
        };
        match &*self.parts.cache.open_external(new).await? {
            ExternalOpened::Opened { active, ended, created_user } => {
                if ended.count > 0 {
                    self.announce(ended).await;
                    self.note_evictions(ended, None, active, client);
                }
                if *created_user {
                    tracing::info!(user_id = %active.user.id, "account made for a user of an identity provider");
                }
                // Judged like any other: it may have been open for long.
                let found = crate::ports::Lookup { found: Some(Arc::clone(active)), tier: Tier::L3 };
                Ok(self.judge(&hash, found, now))
            }
            ExternalOpened::Ended => Ok(Err(Rejection::Unknown)),
            ExternalOpened::Disabled => Ok(Err(Rejection::Disabled)),
            ExternalOpened::CapReached => Ok(Err(Rejection::CapReached)),
        }
    }

    /// Takes over what a new token says about its user, as of when it was issued: a token may come late, after the
    /// provider told of a change. Not doing so fails no request.
    async fn follow_profile(&self, token: &VerifiedToken, user: &User, at: Timestamp) {
        let said = &token.user;
        let same = said.email == user.email
            && said.email_verified == user.email_verified
            && said.profile.username == user.profile.username
            && said.profile.image_url.as_ref().is_none_or(|url| Some(url) == user.profile.image_url.as_ref());
        // Clocks differ: what is said in the future must not keep later changes out.
        let said_at = token.issued_at.min(at);
        if !same && let Err(error) = self.update_external(&token.identity, said, said_at).await {
            tracing::warn!(user_id = %user.id, ?error, "the profile was not taken over from the provider");
        }
    }

    /// Takes over what a provider said about a user at `said_at`, unless something later is known.
    ///
    /// # Errors
    /// `Store`.
    pub async fn update_external(
        &self,
        identity: &Identity,
        profile: &ExternalProfile,
        said_at: Timestamp,
    ) -> Result<(), AuthError> {
        let changed = self.parts.store.update_external(identity, profile, said_at, self.now()).await?;
        let changed = changed.acknowledge();
        self.parts.cache.invalidate(changed.as_slice()).await;
        Ok(())
    }

    /// A session was found to have ended at its provider: it ends here.
    ///
    /// # Errors
    /// `Store`.
    pub async fn ended_at_provider(&self, user_id: UserId, session_id: SessionId) -> Result<(), AuthError> {
        // The provider need not be told.
        let ended = self.parts.store.end_sessions(EndScope::One(user_id, session_id), self.now()).await?;
        let ended = ended.acknowledge();
        self.parts.cache.invalidate(&ended.invalidations).await;
        if ended.count > 0 {
            self.note_provider_event(EventKind::EndedAtProvider, user_id, Some(session_id));
        }
        Ok(())
    }

    /// A user was deleted at their provider: the account is disabled and its sessions end. Returns whether there is
    /// such an account.
    ///
    /// # Errors
    /// `Store`.
    pub async fn deleted_at_provider(&self, identity: &Identity) -> Result<bool, AuthError> {
        let Some(user) = self.parts.store.user_of_identity(identity).await? else { return Ok(false) };
        match self.change_access(user.id, None, Some(true)).await {
            Ok(_) => {}
            Err(AuthError::LastAdministrator) => {
                // Somebody must be able to administer; but whoever held the sessions is not them any more.
                tracing::error!(user_id = %user.id, "the last administrator was deleted at the identity provider");
                self.end(EndScope::All(user.id)).await?;
            }
            Err(error) => return Err(error),
        }
        self.note_provider_event(EventKind::DeletedAtProvider, user.id, None);
        Ok(true)
    }

    /// Whether a webhook delivery with this id was carried out.
    ///
    /// # Errors
    /// `Store`.
    pub async fn knows_delivery(&self, id: &str) -> Result<bool, AuthError> {
        Ok(self.parts.store.knows_delivery(id).await?)
    }

    /// A webhook delivery was carried out. Only then is it remembered, so that none is lost.
    ///
    /// # Errors
    /// `Store`.
    pub async fn remember_delivery(&self, id: &str) -> Result<(), AuthError> {
        self.parts.store.remember_delivery(id, self.now()).await?.acknowledge();
        Ok(())
    }

    fn note_provider_event(&self, kind: EventKind, user_id: UserId, session_id: Option<SessionId>) {
        let at = self.now();
        let id = EventId::generate(at, &*self.parts.entropy);
        let detail = String::new();
        self.parts.events.note(SecurityEvent { id, at, kind, user_id, session_id, ip: None, detail });
    }

    /// Tells everyone concerned what ended: other nodes, and the provider of a session.
    pub(super) async fn announce(&self, ended: &SessionsEnded) {
        self.parts.cache.invalidate(&ended.invalidations).await;
        if let Some(verifier) = &self.parts.identity
            && !ended.external.is_empty()
        {
            verifier.ended(&ended.external);
        }
    }
}
