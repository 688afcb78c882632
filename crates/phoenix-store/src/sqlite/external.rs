//! Users and sessions for which an outside identity provider vouches.

use std::sync::Arc;

use async_trait::async_trait;
use phoenix_auth::model::{Durable, Identity, Relaxed, Role, Timestamp, User};
use phoenix_auth::ports::{
    ExternalOpened, ExternalProfile, ExternalStore, Invalidation, NewExternalSession, SessionsEnded, Stale,
    StoreError,
};
use rusqlite::params;

use super::ending::{Opening, end_each, make_room};
use super::failure::Failure;
use super::invalidations::append;
use super::query::Db;
use super::sessions::{OpenedSession, insert};
use super::sql::Sql;
use super::{SqliteStore, rows};
use crate::decode;

/// The account of the identity; made if there was none, which the last value tells.
fn owner(db: &Db<'_>, new: &NewExternalSession) -> Result<(User, Timestamp, bool), Failure> {
    let NewExternalSession { identity, user_id, profile, session, .. } = new;
    let names = (identity.issuer(), identity.subject());
    if let Some((user, signed_out_at)) = db.optional(Sql::IdentityOwner, names, rows::owner)? {
        return Ok((user, signed_out_at, false));
    }
    let ExternalProfile { email, email_verified, profile } = profile;
    let id = user_id.as_uuid().into_bytes();
    db.execute(
        Sql::ExternalUserInsert,
        params![
            id,
            decode::email_column(email.as_ref()),
            decode::external_key(*user_id),
            email_verified,
            Role::user().as_str(),
            profile.username,
            profile.first_name,
            profile.last_name,
            profile.image_url,
            profile.timezone,
            profile.locale,
            session.created_at.as_millis(),
        ],
    )?;
    db.execute(Sql::IdentityInsert, (names.0, names.1, id))?;
    let (user, signed_out_at) = db.one(Sql::IdentityOwner, names, rows::owner)?;
    Ok((user, signed_out_at, true))
}

fn open(db: &Db<'_>, new: &NewExternalSession) -> Result<ExternalOpened, Failure> {
    let hash = new.token_hash.as_bytes();
    if db.one(Sql::ExternalEnded, [hash], |row| Ok(row.get::<_, bool>(0)?))? {
        return Ok(ExternalOpened::Ended);
    }
    let (user, signed_out_at, created_user) = owner(db, new)?;
    if user.disabled {
        return Ok(ExternalOpened::Disabled);
    }
    if let Some(active) = db.optional(Sql::SessionFind, [hash], rows::active)? {
        // A provider that gives one name to sessions of two users is not believed.
        if active.user.id != user.id {
            return Ok(ExternalOpened::Ended);
        }
        let (active, ended) = (Arc::new(active), SessionsEnded::default());
        return Ok(ExternalOpened::Opened { active, ended, created_user });
    }
    if new.issued_at < signed_out_at {
        return Ok(ExternalOpened::Ended);
    }
    let at = new.session.created_at;
    let opening = Opening { user_id: user.id, at, replaces: None };
    let Some(evicted) = make_room(db, &opening, new.cap)? else { return Ok(ExternalOpened::CapReached) };
    let mut session = new.session.clone();
    session.user_id = user.id;
    db.execute(Sql::UserUsed, (user.id.as_uuid().as_bytes(), at.as_millis()))?;
    insert(db, &OpenedSession::external(session, new))?;
    let active = db.one(Sql::SessionFind, [hash], rows::active)?;
    let ended = end_each(db, &evicted, at)?;
    Ok(ExternalOpened::Opened { active: Arc::new(active), ended, created_user })
}

fn update(
    db: &Db<'_>,
    identity: &Identity,
    profile: &ExternalProfile,
    said_at: Timestamp,
    at: Timestamp,
) -> Result<Option<Invalidation>, Failure> {
    let ExternalProfile { email, email_verified, profile } = profile;
    let changed = db.optional(
        Sql::IdentityUpdate,
        params![
            identity.issuer(),
            identity.subject(),
            decode::email_column(email.as_ref()),
            email_verified,
            profile.username,
            profile.first_name,
            profile.last_name,
            profile.image_url,
            profile.timezone,
            profile.locale,
            said_at.as_millis(),
        ],
        |row| rows::user_id(row, 0),
    )?;
    let Some(id) = changed else { return Ok(None) };
    Ok(append(db, &[Stale::User(id)], at)?.pop())
}

#[async_trait]
impl ExternalStore for SqliteStore {
    async fn open_external(&self, new: &NewExternalSession) -> Result<Durable<ExternalOpened>, StoreError> {
        let new = new.clone();
        self.durable("open an outside session", move |db| open(db, &new)).await
    }

    async fn user_of_identity(&self, identity: &Identity) -> Result<Option<User>, StoreError> {
        self.read("look for the user of an identity", |db| {
            let names = (identity.issuer(), identity.subject());
            db.optional(Sql::IdentityOwner, names, rows::only_user)
        })
    }

    async fn update_external(
        &self,
        identity: &Identity,
        profile: &ExternalProfile,
        said_at: Timestamp,
        at: Timestamp,
    ) -> Result<Durable<Option<Invalidation>>, StoreError> {
        let (identity, profile) = (identity.clone(), profile.clone());
        self.durable("take over a profile", move |db| update(db, &identity, &profile, said_at, at)).await
    }

    async fn knows_delivery(&self, id: &str) -> Result<bool, StoreError> {
        self.read("look for a delivery", |db| db.one(Sql::DeliveryFind, (id,), |row| Ok(row.get(0)?)))
    }

    async fn remember_delivery(&self, id: &str, at: Timestamp) -> Result<Durable<()>, StoreError> {
        let id = id.to_owned();
        self.durable("remember a delivery", move |db| {
            db.execute(Sql::DeliveryInsert, (&id, at.as_millis())).map(drop)
        })
        .await
    }

    async fn trim_external(
        &self,
        deliveries_before: Timestamp,
        endings_before: Timestamp,
        limit: u32,
    ) -> Result<Relaxed<u64>, StoreError> {
        self.relaxed("trim deliveries and ended sessions", move |db| {
            let deliveries = db.execute(Sql::DeliveryTrim, (deliveries_before.as_millis(), limit))?;
            Ok(deliveries + db.execute(Sql::EndingTrim, (endings_before.as_millis(), limit))?)
        })
        .await
    }
}
