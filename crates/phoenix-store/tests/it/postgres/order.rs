//! The order of invalidations when commits take their time.

use futures_util::future::{join, join_all};
use phoenix_auth::model::Seq;
use phoenix_auth::ports::{AccountStore, EndScope, InvalidationLog, SessionStore};
use phoenix_testkit::postgres::{Postgres, database_name};

use crate::fixtures::{at, new_session, new_user};
use crate::harness::{BOUND, pg_config, pg_store};

/// Every commit that adds an entry takes up to 10 ms longer, after its number was drawn.
const SLOW_COMMITS: &str = "
    CREATE FUNCTION public.linger() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(random() * 0.01); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON phoenix.invalidations DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION public.linger();";
const ENDED: u64 = 50;

// spec: D15
#[tokio::test]
async fn sequence_order_is_commit_order_however_long_a_commit_takes() {
    let url = Postgres::shared().create_database();
    let store = pg_store(pg_config(url.clone())).await;
    Postgres::shared().execute(database_name(&url), SLOW_COMMITS).expect("a superuser may");
    let mut sessions = Vec::new();
    for number in 0..ENDED {
        let user = new_user(&format!("user{number}@example.com"));
        let session = new_session(user.id);
        store.create_user(&user, Some(&session)).await.expect("answers").acknowledge();
        sessions.push(EndScope::One(user.id, session.session.id));
    }
    let ends = join_all(sessions.iter().map(|scope| store.end_sessions(*scope, at(1))));
    let reader = async {
        let mut seen = 0;
        while seen < ENDED {
            for entry in store.log_after(Seq(seen), 1000).await.expect("answers").entries {
                assert_eq!(entry.seq.0, seen + 1, "an entry became visible before the one in front of it");
                seen = entry.seq.0;
            }
        }
    };
    let (ended, ()) = tokio::time::timeout(BOUND, join(ends, reader)).await.expect("all entries appear");
    for end in ended {
        assert_eq!(end.expect("answers").acknowledge().count, 1);
    }
}
