//! Accounts that exist without anybody having registered: the first administrator, the demonstration accounts
//! and the account for automatic tests.

use super::{Auth, PasswordJob, PasswordOutcome};
use crate::error::AuthError;
use crate::model::{Durable, Email, Password, PasswordRules, Profile, Role, UserId};
use crate::ports::{NewUser, UserCreated};

/// Address of the first administrator when none is configured.
const DEFAULT_ADMIN: &str = "admin@localhost";
/// Length of a generated password: 24 of 32 letters are 120 bits.
const GENERATED_CHARS: usize = 24;

/// The administrator that was just made.
#[derive(Debug)]
pub struct FirstAdministrator {
    /// Their address.
    pub email: String,
    /// The password that was generated, to be shown once. `None` when it was configured.
    pub generated_password: Option<String>,
}

/// An account with a published password.
#[derive(Clone, Copy, Debug)]
pub struct SpecialAccount {
    /// Its address.
    pub email: &'static str,
    /// Its password.
    pub password: &'static str,
    role: &'static str,
}

impl SpecialAccount {
    /// Accounts for visitors to try the application with. They hold no rights, and nobody can change their password.
    pub const DEMO: [Self; 2] = [
        Self { email: "demo@phoenix.example", password: "phoenix-demo-account", role: "demo" },
        Self { email: "demo-two@phoenix.example", password: "phoenix-demo-account", role: "demo" },
    ];
    /// The account that automatic tests sign in with.
    pub const TEST: Self =
        Self { email: "test@phoenix.example", password: "phoenix-test-account", role: "test" };
}

impl Auth {
    /// Makes the first administrator when the database holds no account at all.
    ///
    /// # Errors
    /// `Invalid` when the configured address or password cannot be used, `Busy`, `Store`.
    pub async fn ensure_administrator(
        &self,
        email: Option<&str>,
        password: Option<&str>,
    ) -> Result<Option<FirstAdministrator>, AuthError> {
        if self.parts.store.has_users().await? {
            return Ok(None);
        }
        let email = email.unwrap_or(DEFAULT_ADMIN).to_owned();
        let generated = password.is_none().then(|| self.generate_password());
        let password = password.map_or_else(|| generated.clone().unwrap_or_default(), str::to_owned);
        match self.add_user(email.clone(), password, Role::admin()).await {
            Ok(_) => Ok(Some(FirstAdministrator { email, generated_password: generated })),
            // Another node that started at the same moment was first.
            Err(AuthError::EmailTaken) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the special accounts that are switched on, and disables those that are switched off.
    ///
    /// # Errors
    /// `Busy`, `Store`.
    pub async fn reconcile_special_accounts(&self) -> Result<(), AuthError> {
        for account in SpecialAccount::DEMO {
            self.reconcile(account, self.parts.policy.demo_accounts).await?;
        }
        self.reconcile(SpecialAccount::TEST, self.parts.policy.test_account).await
    }

    async fn reconcile(&self, account: SpecialAccount, enabled: bool) -> Result<(), AuthError> {
        let existing = match self.user_by_email(account.email).await {
            Ok(user) => Some(user),
            Err(AuthError::NotFound) => None,
            Err(error) => return Err(error),
        };
        match existing {
            Some(user) if user.role.as_str() == account.role => {
                self.change_access(user.id, None, Some(!enabled)).await.map(|_| ())
            }
            None if enabled => self.add_special(account).await,
            // Switched off; or somebody's own account that happens to have the address: not ours to touch.
            None | Some(_) => Ok(()),
        }
    }

    async fn add_special(&self, account: SpecialAccount) -> Result<(), AuthError> {
        let email = Email::parse(account.email).map_err(|e| AuthError::field("email", e.to_string()))?;
        let password = Password::new(account.password.to_owned())
            .map_err(|e| AuthError::field("password", e.to_string()))?;
        let role = Role::parse(account.role).map_err(|e| AuthError::field("role", e.to_string()))?;
        // A published password cannot meet the rules for secret ones.
        let rules = PasswordRules { min_chars: 1 };
        let job = PasswordJob::Create { password, rules, context: Vec::new() };
        let password_hash = match self.parts.passwords.run(job).await? {
            PasswordOutcome::Created(hash) => hash,
            PasswordOutcome::Failed(error) => return Err(AuthError::Hashing(error)),
            other => unreachable!("published passwords are accepted: {other:?}"),
        };
        let now = self.now();
        let id = UserId::generate(now, &*self.parts.entropy);
        let user = NewUser { id, email, password_hash, role, profile: Profile::default(), created_at: now };
        match self.parts.store.create_user(&user, None).await.map(Durable::acknowledge)? {
            UserCreated::Created | UserCreated::EmailTaken => Ok(()),
        }
    }

    /// 120 random bits in letters that are not mistaken for each other, in groups of six.
    fn generate_password(&self) -> String {
        const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut random = [0_u8; GENERATED_CHARS];
        self.parts.entropy.fill(&mut random);
        let mut text = String::with_capacity(GENERATED_CHARS + 3);
        for (i, byte) in random.iter().enumerate() {
            if i > 0 && i % 6 == 0 {
                text.push('-');
            }
            text.push(char::from(LETTERS[usize::from(byte % 32)]));
        }
        text
    }
}
