//! What was acknowledged survives `kill -9` of Phoenix, and of PostgreSQL, at the very next moment.

use anyhow::Result;
use phoenix_testkit::http::Client;
use phoenix_testkit::postgres::Postgres;
use phoenix_testkit::process::PhoenixProcess;

use super::support::{
    OTHER_PASSWORD, PASSWORD, change_password, login, logout, me, phoenix, register, token,
};

/// Accounts of one run; each is four rounds of an acknowledged change and a kill.
const ACCOUNTS: usize = 3;

/// What the server has acknowledged about one account.
struct Account {
    email: String,
    password: &'static str,
    refused_password: Option<&'static str>,
    open: Vec<String>,
    ended: Vec<String>,
}

impl Account {
    /// Every session and password is as acknowledged.
    async fn check(&mut self, client: &Client) -> Result<()> {
        for token in &self.open {
            assert_eq!(me(client, token).await?, 200, "an open session of {}", self.email);
        }
        for token in &self.ended {
            assert_eq!(me(client, token).await?, 401, "an ended session of {}", self.email);
        }
        self.open.push(token(&login(client, &self.email, self.password).await?, 200));
        if let Some(password) = self.refused_password {
            assert_eq!(login(client, &self.email, password).await?.status, 401, "the old password");
        }
        Ok(())
    }
}

/// `kill` is called as soon as a change is acknowledged, and must bring everything up again.
async fn survives(server: &PhoenixProcess, mut kill: impl FnMut() -> Result<()>) -> Result<()> {
    for number in 0..ACCOUNTS {
        let email = format!("survivor-{number}@example.com");
        let open = vec![token(&register(&server.client(), &email).await?, 201)];
        kill()?;
        let mut account =
            Account { email, password: PASSWORD, refused_password: None, open, ended: Vec::new() };
        account.check(&server.client()).await?;

        account.open.push(token(&login(&server.client(), &account.email, PASSWORD).await?, 200));
        kill()?;
        account.check(&server.client()).await?;

        let leaving = account.open.remove(0);
        assert_eq!(logout(&server.client(), &leaving).await?.status, 200);
        kill()?;
        account.ended.push(leaving);
        account.check(&server.client()).await?;

        let changed = token(&change_password(&server.client(), &account.open[0]).await?, 200);
        kill()?;
        account.ended.append(&mut account.open);
        account.open.push(changed);
        (account.password, account.refused_password) = (OTHER_PASSWORD, Some(PASSWORD));
        account.check(&server.client()).await?;
    }
    Ok(())
}

// spec: D15 A11
#[tokio::test]
async fn the_embedded_database_keeps_what_was_acknowledged_before_kill_9() -> Result<()> {
    let server = phoenix().start()?;
    survives(&server, || {
        server.kill9()?;
        server.restart()
    })
    .await
}

// spec: A11
#[tokio::test]
async fn postgresql_keeps_what_was_acknowledged_before_both_were_killed() -> Result<()> {
    let postgres = Postgres::start()?;
    let server = phoenix().env("DATABASE_URL", postgres.create_database()).env("DB_POOL_MIN", "1").start()?;
    let mut round = 0;
    survives(&server, || {
        round += 1;
        // Every second time the database dies too, and first: nothing of Phoenix can help it then.
        if round % 2 == 0 {
            postgres.kill()?;
        }
        server.kill9()?;
        if round % 2 == 0 {
            postgres.restart()?;
        }
        server.restart()
    })
    .await
}
