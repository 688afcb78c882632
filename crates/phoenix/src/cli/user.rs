//! `phoenix user ...`

use clap::Subcommand;
use phoenix_auth::model::{Email, Role, User, UserId};
use phoenix_auth::{Auth, AuthError};
use phoenix_config::Config;
use serde_json::{Value, json};

use super::{Failure, output, secret_input, with_app};

/// Accounts in one page of the list.
const PAGE: u32 = 200;

#[derive(Subcommand, Debug)]
pub(super) enum UserCommand {
    /// Make an account; the password is prompted for, or read from standard input
    Add {
        /// Address of the account
        #[arg(long)]
        email: String,
        /// What it may do
        #[arg(long, default_value = "user")]
        role: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List accounts, oldest first
    List {
        /// At most this many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one account
    Show {
        /// Email or id
        user: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Disable an account and end its sessions
    Disable {
        /// Email or id
        user: String,
    },
    /// Enable an account again
    Enable {
        /// Email or id
        user: String,
    },
    /// Set a new password and end all sessions; it is prompted for, or read from standard input
    Password {
        /// Email or id
        user: String,
    },
    /// Change what an account may do and end its sessions
    Role {
        /// Email or id
        user: String,
        /// The new role
        role: String,
    },
}

pub(super) async fn run(config: &Config, command: UserCommand) -> Result<(), Failure> {
    with_app(config, async |app| {
        let auth = &app.auth;
        match command {
            UserCommand::Add { email, role, json } => add(auth, email, &role, json).await,
            UserCommand::List { limit, json } => list(auth, limit, json).await,
            UserCommand::Show { user, json } => {
                let user = find(auth, &user).await?;
                output::value(json, &view(&user), || describe(&user))
            }
            UserCommand::Disable { user } => change(auth, &user, None, Some(true)).await,
            UserCommand::Enable { user } => change(auth, &user, None, Some(false)).await,
            UserCommand::Role { user, role } => change(auth, &user, Some(parse_role(&role)?), None).await,
            UserCommand::Password { user } => {
                let user = find(auth, &user).await?;
                let password = secret_input::new_password()?;
                auth.reset_password(user.id, password).await.map_err(explain)?;
                output::text(&format!("Password of {} set; all sessions ended.\n", address(&user)))
            }
        }
    })
    .await
}

async fn add(auth: &Auth, email: String, role: &str, json: bool) -> Result<(), Failure> {
    let role = parse_role(role)?;
    let password = secret_input::new_password()?;
    let user = auth.add_user(email, password, role).await.map_err(explain)?;
    output::value(json, &view(&user), || {
        format!("Account {} made for {} as {}.\n", user.id, address(&user), user.role)
    })
}

async fn list(auth: &Auth, limit: usize, json: bool) -> Result<(), Failure> {
    let mut users: Vec<User> = Vec::new();
    while users.len() < limit {
        let wanted = u32::try_from(limit - users.len()).unwrap_or(PAGE).min(PAGE);
        let page = auth.users(users.last().map(|user| user.id), wanted).await.map_err(explain)?;
        let last = page.len() < wanted as usize;
        users.extend(page);
        if last {
            break;
        }
    }
    let value = Value::Array(users.iter().map(view).collect());
    output::value(json, &value, || {
        let mut text = format!("{:36}  {:8}  {:10}  {:24}  email\n", "id", "state", "role", "created");
        for user in &users {
            let state = if user.disabled { "disabled" } else { "enabled" };
            text += &format!(
                "{}  {state:8}  {:10}  {}  {}\n",
                user.id,
                user.role.as_str(),
                user.created_at,
                address(user)
            );
        }
        text
    })
}

async fn change(auth: &Auth, who: &str, role: Option<Role>, disabled: Option<bool>) -> Result<(), Failure> {
    let user = find(auth, who).await?;
    let user = auth.change_access(user.id, role, disabled).await.map_err(explain)?;
    output::text(&describe(&user))
}

/// An account by email or id.
pub(super) async fn find(auth: &Auth, who: &str) -> Result<User, Failure> {
    let found = match who.parse::<UserId>() {
        Ok(id) => auth.user(id).await,
        Err(_) => auth.user_by_email(who).await,
    };
    found.map_err(|error| match error {
        AuthError::NotFound => Failure::Failed(anyhow::anyhow!("there is no account {who:?}")),
        other => explain(other),
    })
}

fn parse_role(role: &str) -> Result<Role, Failure> {
    Role::parse(role).map_err(|error| Failure::Wrong(format!("phoenix: role {role:?} {error}")))
}

/// Errors of use cases in the words of the command line.
pub(super) fn explain(error: AuthError) -> Failure {
    match error {
        AuthError::Invalid(fields) => {
            let reasons: Vec<_> = fields.iter().map(|f| format!("{} {}", f.field, f.reason)).collect();
            Failure::Wrong(format!("phoenix: {}", reasons.join("; ")))
        }
        other => other.into(),
    }
}

/// The user's address; a user of an outside identity provider may have none.
pub(super) fn address(user: &User) -> &str {
    user.email.as_ref().map_or("-", Email::as_str)
}

fn view(user: &User) -> Value {
    json!({
        "id": user.id.to_string(),
        "email": user.email.as_ref().map(Email::as_str),
        "role": user.role.as_str(),
        "disabled": user.disabled,
        "createdAt": user.created_at.to_string(),
        "lastActiveAt": user.last_active_at.map(|time| time.to_string()),
    })
}

fn describe(user: &User) -> String {
    let last = user.last_active_at.map_or_else(|| "never".to_owned(), |time| time.to_string());
    let state = if user.disabled { "disabled" } else { "enabled" };
    format!(
        "id           {}\nemail        {}\nrole         {}\nstate        {state}\ncreated      {}\nlast active  {last}\n",
        user.id,
        address(user),
        user.role,
        user.created_at
    )
}
