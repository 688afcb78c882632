//! Make an account for a stranger and sign them in.

use super::{Auth, ClientInfo, PasswordJob, PasswordOutcome, SignedIn};
use crate::error::{AuthError, FieldError};
use crate::model::{Durable, Email, Password, PasswordHash, Profile, Role, Timestamp, User, UserId};
use crate::ports::{NewUser, UserCreated};

/// What a stranger sends.
#[derive(Debug)]
pub struct RegisterRequest {
    /// Address, not yet checked.
    pub email: String,
    /// Password, not yet checked.
    pub password: String,
    /// What they say about themselves, not yet checked.
    pub profile: Profile,
    /// Where they are.
    pub client: ClientInfo,
}

impl Auth {
    /// Makes an account with role `user` and opens its first session.
    ///
    /// # Errors
    /// `RegistrationClosed`, `Invalid` (all wrong fields at once), `EmailTaken`, `Busy`, `Store`.
    pub async fn register(&self, request: RegisterRequest) -> Result<SignedIn, AuthError> {
        if !self.parts.policy.registration_open {
            return Err(AuthError::RegistrationClosed);
        }
        let now = self.now();
        let new =
            self.check_new_user(request.email, request.password, request.profile, Role::user(), now).await?;
        let user = User { last_active_at: Some(now), ..shown(&new) };
        let (token, session) = self.prepare_session(&user, &request.client, now);
        let stamp = self.parts.cache.stamp();
        match self.parts.store.create_user(&new, Some(&session)).await.map(Durable::acknowledge)? {
            UserCreated::Created => Ok(self.keep(SignedIn::new(token, session.session, user), stamp)),
            UserCreated::EmailTaken => Err(AuthError::EmailTaken),
        }
    }

    /// Makes an account without signing in: for administrators at the command line.
    ///
    /// # Errors
    /// `Invalid`, `EmailTaken`, `Busy`, `Store`.
    pub async fn add_user(&self, email: String, password: String, role: Role) -> Result<User, AuthError> {
        let new = self.check_new_user(email, password, Profile::default(), role, self.now()).await?;
        match self.parts.store.create_user(&new, None).await.map(Durable::acknowledge)? {
            UserCreated::Created => Ok(shown(&new)),
            UserCreated::EmailTaken => Err(AuthError::EmailTaken),
        }
    }

    pub(super) async fn check_new_user(
        &self,
        email: String,
        password: String,
        profile: Profile,
        role: Role,
        now: Timestamp,
    ) -> Result<NewUser, AuthError> {
        let mut errors = Vec::new();
        let mut note = |field, reason: String| errors.push(FieldError { field, reason });
        let email = Email::parse(&email).map_err(|e| note("email", e.to_string())).ok();
        let password = Password::new(password).map_err(|e| note("password", e.to_string())).ok();
        for wrong in profile.check().err().unwrap_or_default() {
            note(wrong.field, wrong.reason.to_owned());
        }
        let (Some(email), Some(password), true) = (email, password, errors.is_empty()) else {
            return Err(AuthError::Invalid(errors));
        };
        let context = [Some(email.as_str().to_owned()), profile.username.clone(), profile.first_name.clone()];
        let context = context.into_iter().flatten().collect();
        let password_hash = self.new_password_hash("password", password, context).await?;
        let id = UserId::generate(now, &*self.parts.entropy);
        Ok(NewUser { id, email, password_hash, role, profile, created_at: now })
    }

    /// Checks a new password and hashes it. `field` names it in the error.
    pub(super) async fn new_password_hash(
        &self,
        field: &'static str,
        password: Password,
        context: Vec<String>,
    ) -> Result<PasswordHash, AuthError> {
        let rules = self.parts.policy.password;
        match self.parts.passwords.run(PasswordJob::Create { password, rules, context }).await? {
            PasswordOutcome::Created(hash) => Ok(hash),
            PasswordOutcome::Refused(error) => Err(AuthError::field(field, error.to_string())),
            PasswordOutcome::Failed(error) => Err(AuthError::Hashing(error)),
            PasswordOutcome::Right(_) | PasswordOutcome::Wrong => {
                unreachable!("a Create job is answered with Created, Refused or Failed")
            }
        }
    }
}

/// The account as it is right after it was made.
fn shown(new: &NewUser) -> User {
    User {
        id: new.id,
        email: Some(new.email.clone()),
        email_verified: false,
        role: new.role,
        disabled: false,
        profile: new.profile.clone(),
        settings: "{}".to_owned(),
        created_at: new.created_at,
        last_active_at: None,
    }
}
