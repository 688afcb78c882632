//! `phoenix session ...`

use clap::{Args, Subcommand};
use phoenix_auth::model::SessionId;
use phoenix_auth::ops::SessionLine;
use phoenix_config::Config;
use serde_json::{Value, json};

use super::user::{address, explain, find};
use super::{Failure, output, with_app};

#[derive(Subcommand, Debug)]
pub(super) enum SessionCommand {
    /// List an account's sessions, the last used first
    List {
        /// Email or id
        user: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End one session of an account, or all of them
    Revoke {
        /// Email or id
        user: String,
        #[command(flatten)]
        which: Which,
    },
}

/// One of the two must be said, so that nobody ends all sessions by leaving a word out.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// The session to end
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// End all
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(config: &Config, command: SessionCommand) -> Result<(), Failure> {
    with_app(config, async |app| {
        let auth = &app.auth;
        match command {
            SessionCommand::List { user, json } => {
                let user = find(auth, &user).await?;
                let (_, sessions) = auth.sessions_of(user.id).await.map_err(explain)?;
                let value = Value::Array(sessions.iter().map(view).collect());
                output::value(json, &value, || table(&sessions))
            }
            SessionCommand::Revoke { user, which } => {
                let user = find(auth, &user).await?;
                let count = match which.session {
                    Some(text) => {
                        let id: SessionId = text.parse().map_err(|_| {
                            Failure::Wrong(format!("phoenix: {text:?} is not a session's id"))
                        })?;
                        auth.end_session_of(user.id, id).await.map_err(explain).map(|()| 1)?
                    }
                    None => auth.end_all_sessions(user.id).await.map_err(explain)?,
                };
                output::text(&format!("{count} session(s) of {} ended.\n", address(&user)))
            }
        }
    })
    .await
}

fn view(line: &SessionLine) -> Value {
    let session = &line.summary.session;
    json!({
        "id": session.id.to_string(),
        "createdAt": session.created_at.to_string(),
        "lastSeenAt": session.last_seen_at.to_string(),
        "expiresAt": session.expires_at.to_string(),
        "device": session.device,
        "ipAddress": session.ip_address.map(|address| address.to_string()),
        "lastIpAddress": session.last_ip.map(|address| address.to_string()),
        "country": line.country.map(|country| country.as_str().to_owned()),
        "userAgent": line.summary.user_agent,
    })
}

fn table(lines: &[SessionLine]) -> String {
    let mut text = format!("{:36}  {:24}  {:24}  {:39}  device\n", "id", "created", "last seen", "address");
    for line in lines {
        let session = &line.summary.session;
        let address =
            session.last_ip.or(session.ip_address).map_or_else(String::new, |address| address.to_string());
        text += &format!(
            "{}  {}  {}  {address:39}  {}\n",
            session.id, session.created_at, session.last_seen_at, session.device
        );
    }
    text
}
