//! What a commit waits for, seen from inside the transaction.

use phoenix_auth::ports::{AccountStore, Activity, SessionStore};
use phoenix_store::postgres::{self, PgStore};
use phoenix_testkit::postgres::{Postgres, database_name};
use tokio_util::task::TaskTracker;

use crate::fixtures::{at, new_session, new_user};
use crate::harness::pg_config;

/// Notes the setting under which sessions are inserted and their activity is updated.
const WITNESS: &str = "
    CREATE TABLE public.witness (what text, setting text);
    CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.witness VALUES (TG_OP, current_setting('synchronous_commit'));
        RETURN NULL;
    END $$;
    CREATE TRIGGER witness AFTER INSERT OR UPDATE ON phoenix.session_activity
        FOR EACH ROW EXECUTE FUNCTION public.note();";

async fn settings_seen(server_setting: &str) -> Vec<Vec<Option<String>>> {
    let server = Postgres::shared();
    let url = server.create_database();
    let database = database_name(&url);
    let weaken = format!("ALTER DATABASE {database} SET synchronous_commit = {server_setting}");
    server.execute("postgres", &weaken).expect("a superuser may");
    let tasks = TaskTracker::new();
    let config = pg_config(url.clone());
    postgres::migrate(&config, &tasks).await.expect("migrates");
    server.execute(database, WITNESS).expect("a superuser may");
    let store = PgStore::connect(config, &tasks).await.expect("connects");
    let user = new_user("ada@example.com");
    let session = new_session(user.id);
    store.create_user(&user, Some(&session)).await.expect("answers").acknowledge();
    let seen = Activity { session_id: session.session.id, user_id: user.id, at: at(10), ip: None };
    store.record_activity(&[seen]).await.expect("answers").into_inner();
    server.query(database, "SELECT what, setting FROM public.witness ORDER BY what").expect("answers")
}

// spec: D15
#[tokio::test]
async fn a_server_set_to_lose_commits_does_not_weaken_durable_writes() {
    for (configured, durable) in [
        ("off", "on"),
        ("local", "on"),
        ("remote_write", "on"),
        ("on", "on"),
        ("remote_apply", "remote_apply"),
    ] {
        let text = |text: &str| Some(text.to_owned());
        let expected = [[text("INSERT"), text(durable)], [text("UPDATE"), text("off")]];
        assert_eq!(settings_seen(configured).await, expected, "synchronous_commit = {configured}");
    }
}
