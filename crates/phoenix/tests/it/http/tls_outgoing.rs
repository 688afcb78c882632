//! Nodes whose database and Redis are reached under TLS, with certificates of a private authority.

use phoenix_testkit::certificates::Authority;
use phoenix_testkit::postgres::Postgres;
use phoenix_testkit::redis::Redis;
use phoenix_testkit::wait;

use super::support::{ADMIN, Backend, Node, SOON, Site};

/// A database server and Redis with certificates of one authority, and the file that vouches for it.
struct Ground {
    postgres: Postgres,
    redis: Redis,
    folder: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let ours = Authority::new("ours");
        let postgres = Postgres::builder().fsync(false).start().unwrap();
        postgres.serve_tls(&ours.issue_local(), &ours).unwrap();
        let redis = Redis::builder().tls(ours.issue_local(), &ours).start().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("trust.pem"), ours.pem()).unwrap();
        Self { postgres, redis, folder }
    }

    fn site(&self) -> Site {
        let database = self.postgres.create_database();
        Site::new(Backend::Postgres)
            .with("DATABASE_URL", &format!("{database}?sslmode=verify-full&channel_binding=require"))
            .with("PHOENIX_TRUST_FILE", self.folder.path().join("trust.pem").to_str().unwrap())
            // Only a push can be so fast.
            .with("PHOENIX_REVOCATION_BOUND", "60s")
    }

    fn assert_all_encrypted(&self) {
        let plain = "SELECT count(*), count(*) FILTER (WHERE NOT ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE application_name = 'phoenix'";
        let rows = self.postgres.query("postgres", plain).unwrap();
        assert_ne!(rows[0][0].as_deref(), Some("0"));
        assert_eq!(rows[0][1].as_deref(), Some("0"));
    }
}

/// Signs in at one node and out at the other, and waits until the first has heard of it.
async fn sessions_are_shared(one: &Node, two: &Node) {
    let admin = two.administrator().await;
    wait::until(SOON, "the node to listen", || {
        let mut admin = admin.clone();
        async move { admin.status().await["revocation"]["push"]["connected"] == true }
    })
    .await;
    let mut browser = one.signed_in(ADMIN).await;
    assert_eq!(browser.me().await.status, 200);
    let elsewhere = browser.at(&two.client);
    assert_eq!(elsewhere.clone().me().await.status, 200);
    assert_eq!(browser.act("/api/auth/logout").await.status, 200);
    wait::until(SOON, "the other node to refuse", || {
        let mut elsewhere = elsewhere.clone();
        async move { elsewhere.me().await.status == 401 }
    })
    .await;
}

// spec: G4
#[tokio::test(flavor = "multi_thread")]
async fn nodes_share_sessions_through_a_database_under_tls() {
    let ground = Ground::new();
    let site = ground.site();
    let (one, two) = (site.node().await, site.node().await);
    sessions_are_shared(&one, &two).await;
    ground.assert_all_encrypted();
    one.stop().await;
    two.stop().await;
}

// spec: G4
#[tokio::test(flavor = "multi_thread")]
async fn nodes_share_sessions_and_limits_through_redis_under_tls() {
    let ground = Ground::new();
    let site = ground.site().with("REDIS_URL", &ground.redis.tls_url("localhost"));
    let (one, two) = (site.node().await, site.node().await);
    sessions_are_shared(&one, &two).await;
    let plain = ground.redis.command(&["CLIENT", "LIST"]).unwrap();
    let address = ground.redis.address().to_string();
    // The one on the plain port asks for this list.
    assert_eq!(plain.lines().filter(|line| line.contains(&format!("laddr={address}"))).count(), 1, "{plain}");
    assert!(
        plain.lines().filter(|line| line.contains(&format!("laddr={}", ground.redis.tls_address()))).count()
            > 2
    );
    one.stop().await;
    two.stop().await;
}
