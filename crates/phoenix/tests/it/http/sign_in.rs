//! What a refused sign-in gives away: nothing.

use phoenix_testkit::http::Response;
use serde_json::json;

use super::support::{ADMIN, PASSWORD, Site, assert_problem, on_every_backend};

/// Status, header names and body: everything that does not differ from request to request.
fn shape(response: &Response) -> (u16, Vec<String>, String) {
    let mut names: Vec<String> = response.headers.keys().map(ToString::to_string).collect();
    names.sort();
    (response.status.as_u16(), names, response.text())
}

// spec: A11
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_address_and_a_wrong_password_get_the_same_answer() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let mut ada = node.registered("ada@example.com").await;
        let id = ada.user_id().await;
        let before = admin.statements().await;
        let wrong = node.browser().login(ADMIN, "not the password").await;
        let unknown = node.browser().login("nobody@example.com", "not the password").await;
        assert_problem(&wrong, 401, "invalid-credentials");
        assert_eq!(shape(&wrong), shape(&unknown));
        let work = admin.statements().await.since(&before);
        assert_eq!(work, [("credentials".to_owned(), 2)].into(), "both ask the same of the database");

        let disable = json!({"disabled": true});
        assert_eq!(admin.patch(&format!("/api/admin/users/{id}"), &disable).await.status, 200);
        let disabled = node.browser().login("ada@example.com", "not the password").await;
        assert_eq!(shape(&disabled), shape(&unknown), "a disabled account is not told from none");
        assert_problem(&node.browser().login("ada@example.com", PASSWORD).await, 403, "account-disabled");
        node.stop().await;
    })
    .await;
}

// spec: A11
#[tokio::test(flavor = "multi_thread")]
async fn closed_registration_refuses_strangers() {
    on_every_backend(async |backend| {
        let site = Site::new(backend).with("PHOENIX_REGISTRATION", "closed");
        let node = site.node().await;
        let mut stranger = node.browser();
        assert_problem(&stranger.register("ada@example.com").await, 403, "registration-closed");
        assert_problem(&stranger.register(ADMIN).await, 403, "registration-closed");
        assert_problem(&stranger.login("ada@example.com", PASSWORD).await, 401, "invalid-credentials");
        assert_eq!(node.signed_in(ADMIN).await.me().await.status, 200);
        node.stop().await;
    })
    .await;
}

// spec: A11
#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_the_same_account_in_any_case_and_a_password_is_not() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        node.registered("Ada.Lovelace@Example.com").await;
        for email in ["ada.lovelace@example.com", "ADA.LOVELACE@EXAMPLE.COM", "  Ada.Lovelace@example.com "] {
            let response = node.browser().login(email, PASSWORD).await;
            assert_eq!(response.json()["user"]["email"], "Ada.Lovelace@Example.com");
        }
        let shouted = node.browser().login("ada.lovelace@example.com", &PASSWORD.to_uppercase()).await;
        assert_problem(&shouted, 401, "invalid-credentials");
        let padded = node.browser().login("ada.lovelace@example.com", &format!("{PASSWORD} ")).await;
        assert_problem(&padded, 401, "invalid-credentials");
        node.stop().await;
    })
    .await;
}
