//! Accounts of users for whom the provider vouches, beside our own.

use std::time::Duration;

use serde_json::json;

use super::setup::{Setup, accepted, user_id};
use crate::http::support::{PASSWORD, assert_problem, on_every_backend};

// spec: A10 A11
#[tokio::test(flavor = "multi_thread")]
async fn an_own_account_and_a_user_of_the_provider_with_one_address_are_two_people() {
    on_every_backend(async |backend| {
        let setup = Setup::new(backend);
        let node = setup.node().await;
        let mut admin = node.administrator().await;
        let mut own = node.registered("ada@example.com").await;
        let ada = setup.sign_up("ada@example.com");
        let outside = accepted(&node, &ada.access_token).await;
        assert_eq!(
            (&outside["user"]["email"], &outside["user"]["emailVerified"]),
            (&json!("ada@example.com"), &json!(true))
        );
        assert_ne!(own.user_id().await, user_id(&outside));
        // The other way round.
        let eve = setup.sign_up("eve@example.com");
        let outside_eve = accepted(&node, &eve.access_token).await;
        let mut own_eve = node.registered("eve@example.com").await;
        assert_ne!(own_eve.user_id().await, user_id(&outside_eve));
        assert_eq!(admin.accounts().await.len(), 4);

        // Nobody can sign in to the outside account with a password, or is signed in to the other's.
        let mut again = node.signed_in("eve@example.com").await;
        assert_eq!(again.user_id().await, own_eve.user_id().await);
        assert_problem(&node.browser().login("eve@example.com", "").await, 422, "invalid-fields");
        for name in [format!("external:{}", user_id(&outside_eve)), user_id(&outside_eve)] {
            let response = node.browser().login(&name, PASSWORD).await;
            assert!(response.status == 401 || response.status == 422, "{}", response.text());
        }
        // What one does does not reach the other.
        let path = format!("/api/admin/users/{}", user_id(&outside));
        assert_eq!(admin.patch(&path, &json!({"disabled": true})).await.status, 200);
        assert_problem(&node.me(&ada.access_token).await, 401, "session-ended");
        assert_eq!(own.me().await.status, 200);
        node.stop().await;
    })
    .await;
}

// spec: A10 A11
#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_the_providers_users_has_no_password() {
    on_every_backend(async |backend| {
        let setup = Setup::new(backend);
        let node = setup.node().await;
        let ada = setup.sign_up("ada@example.com");
        accepted(&node, &ada.access_token).await;
        let body = json!({"currentPassword": "", "newPassword": PASSWORD});
        let change = node.client.post("/api/auth/password").bearer(&ada.access_token).json(&body);
        let refused = change.send().await.unwrap();
        assert!(refused.status.is_client_error(), "{}", refused.text());
        let body = json!({"currentPassword": PASSWORD, "newPassword": PASSWORD});
        let change = node.client.post("/api/auth/password").bearer(&ada.access_token).json(&body);
        let refused = change.send().await.unwrap();
        assert!(refused.status.is_client_error(), "{}", refused.text());
        assert_problem(&node.browser().login("ada@example.com", PASSWORD).await, 401, "invalid-credentials");
        accepted(&node, &ada.access_token).await;
        node.stop().await;
    })
    .await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_brings_a_new_profile() {
    on_every_backend(async |backend| {
        let setup = Setup::new(backend);
        let node = setup.node().await;
        let ada = setup.sign_up("ada@example.com");
        accepted(&node, &ada.access_token).await;
        setup.pass(Duration::from_secs(45));
        let spec = setup.fake.token_of(&ada.session_id).unwrap();
        let changed =
            spec.claim("name", "Ada King").claim("email", "king@example.com").claim("email_verified", false);
        let token = setup.fake.mint(&changed);
        accepted(&node, &token).await;
        let me = accepted(&node, &token).await;
        let user = &me["user"];
        assert_eq!((&user["username"], &user["email"]), (&json!("Ada King"), &json!("king@example.com")));
        assert_eq!(user["emailVerified"], false);
        node.stop().await;
    })
    .await;
}
