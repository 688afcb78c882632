//! Users and sessions for which an outside identity provider vouches.

use std::sync::Arc;

use async_trait::async_trait;
use phoenix_auth::model::{Durable, Identity, Relaxed, Role, Timestamp, User};
use phoenix_auth::ports::{
    ExternalOpened, ExternalProfile, ExternalStore, Invalidation, NewExternalSession, NewSession,
    SessionsEnded, Stale, StoreError,
};

use super::db::Db;
use super::ending::{Opening, end_each, make_room};
use super::failure::Failure;
use super::invalidations::append;
use super::sessions::{Insert, insert};
use super::sql::Sql;
use super::{PgStore, rows};
use crate::decode;

/// The account of the identity, with its row locked; made if there was none, which the last value tells.
async fn owner(db: &Db, new: &NewExternalSession) -> Result<(User, Timestamp, bool), Failure> {
    let NewExternalSession { identity, user_id, profile, session, .. } = new;
    let names = (identity.issuer(), identity.subject());
    let locked = db.optional(Sql::IdentityOwnerLock, &[&names.0, &names.1], rows::owner).await?;
    if let Some((user, signed_out_at)) = locked {
        return Ok((user, signed_out_at, false));
    }
    // Waits for another request that is making it.
    let ExternalProfile { email, email_verified, profile } = profile;
    let made = db
        .execute(
            Sql::IdentityInsert,
            &[
                &names.0,
                &names.1,
                &user_id.as_uuid(),
                &decode::email_column(email.as_ref()),
                &decode::external_key(*user_id),
                email_verified,
                &Role::user().as_str(),
                &profile.username,
                &profile.first_name,
                &profile.last_name,
                &profile.image_url,
                &profile.timezone,
                &profile.locale,
                &session.created_at.as_millis(),
            ],
        )
        .await?;
    let (user, signed_out_at) = db.one(Sql::IdentityOwnerLock, &[&names.0, &names.1], rows::owner).await?;
    Ok((user, signed_out_at, made == 1))
}

async fn open(db: &Db, new: &NewExternalSession) -> Result<ExternalOpened, Failure> {
    let hash = new.token_hash.as_bytes().as_slice();
    if db.one(Sql::ExternalEnded, &[&hash], |row| Ok(row.try_get::<_, bool>(0)?)).await? {
        return Ok(ExternalOpened::Ended);
    }
    let (user, signed_out_at, created_user) = owner(db, new).await?;
    if user.disabled {
        return Ok(ExternalOpened::Disabled);
    }
    if let Some(active) = db.optional(Sql::SessionFind, &[&hash], rows::active).await? {
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
    let Some(evicted) = make_room(db, &opening, new.cap).await? else {
        return Ok(ExternalOpened::CapReached);
    };
    let mut session = new.session.clone();
    session.user_id = user.id;
    let (id, user_agent) = (session.id, new.user_agent.clone());
    let session = NewSession { session, token_hash: new.token_hash, user_agent };
    let inserted = insert(db, &session, Insert::External(&new.external_id)).await?;
    // Somebody may have opened and ended it since we looked: an ending that came before our row is seen now. One that
    // comes after finds our row.
    let opened = db.optional(Sql::ExternalOpened, &[&hash], rows::active).await?;
    let Some(active) = opened.filter(|active| active.user.id == user.id) else {
        if inserted {
            db.execute(Sql::SessionDelete, &[&id.as_uuid()]).await?;
        }
        return Ok(ExternalOpened::Ended);
    };
    let ended = end_each(db, &evicted, at).await?;
    Ok(ExternalOpened::Opened { active: Arc::new(active), ended, created_user })
}

async fn update(
    db: &Db,
    identity: &Identity,
    profile: &ExternalProfile,
    said_at: Timestamp,
    at: Timestamp,
) -> Result<Option<Invalidation>, Failure> {
    let ExternalProfile { email, email_verified, profile } = profile;
    let changed = db
        .optional(
            Sql::IdentityUpdate,
            &[
                &identity.issuer(),
                &identity.subject(),
                &decode::email_column(email.as_ref()),
                email_verified,
                &profile.username,
                &profile.first_name,
                &profile.last_name,
                &profile.image_url,
                &profile.timezone,
                &profile.locale,
                &said_at.as_millis(),
            ],
            |row| rows::user_id(row, 0),
        )
        .await?;
    let Some(id) = changed else { return Ok(None) };
    Ok(append(db, &[Stale::User(id)], at).await?.pop())
}

#[async_trait]
impl ExternalStore for PgStore {
    async fn open_external(&self, new: &NewExternalSession) -> Result<Durable<ExternalOpened>, StoreError> {
        self.durable("open an outside session", |db: Arc<Db>| async move { open(&db, new).await }).await
    }

    async fn user_of_identity(&self, identity: &Identity) -> Result<Option<User>, StoreError> {
        let names = (identity.issuer(), identity.subject());
        self.read("look for the user of an identity", |db: Arc<Db>| async move {
            db.optional(Sql::IdentityOwner, &[&names.0, &names.1], rows::user).await
        })
        .await
    }

    async fn update_external(
        &self,
        identity: &Identity,
        profile: &ExternalProfile,
        said_at: Timestamp,
        at: Timestamp,
    ) -> Result<Durable<Option<Invalidation>>, StoreError> {
        self.durable("take over a profile", |db: Arc<Db>| async move {
            update(&db, identity, profile, said_at, at).await
        })
        .await
    }

    async fn knows_delivery(&self, id: &str) -> Result<bool, StoreError> {
        self.read("look for a delivery", |db: Arc<Db>| async move {
            db.one(Sql::DeliveryFind, &[&id], |row| Ok(row.try_get(0)?)).await
        })
        .await
    }

    async fn remember_delivery(&self, id: &str, at: Timestamp) -> Result<Durable<()>, StoreError> {
        self.durable("remember a delivery", |db: Arc<Db>| async move {
            db.execute(Sql::DeliveryInsert, &[&id, &at.as_millis()]).await.map(drop)
        })
        .await
    }

    async fn trim_external(
        &self,
        deliveries_before: Timestamp,
        endings_before: Timestamp,
        limit: u32,
    ) -> Result<Relaxed<u64>, StoreError> {
        let (deliveries_ms, endings_ms) = (deliveries_before.as_millis(), endings_before.as_millis());
        let limit = i64::from(limit);
        self.relaxed("trim deliveries and ended sessions", |db: Arc<Db>| async move {
            let deliveries = db.execute(Sql::DeliveryTrim, &[&deliveries_ms, &limit]).await?;
            Ok(deliveries + db.execute(Sql::EndingTrim, &[&endings_ms, &limit]).await?)
        })
        .await
    }
}
