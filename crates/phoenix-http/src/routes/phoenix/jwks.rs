//! `GET /.well-known/jwks.json`

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use phoenix_auth::model::Timestamp;

use crate::gateway::Assertions;
use crate::problem::{Kind, Problem};
use crate::settings::HttpParts;

/// Media type of a set of keys (RFC 7517 section 8.5.2).
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/jwk-set+json");
/// The next key stands in the set for a whole rotation before it signs, so copies may be minutes old.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The public keys of `X-Phoenix-Assertion`: those that sign now, did before, and will next. 404 where nothing is
/// signed.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "phoenix",
    responses((status = 200, body = Object, content_type = "application/jwk-set+json"), (status = 404)))]
pub(crate) async fn handle(State(parts): State<HttpParts>) -> Result<Response, Problem> {
    answer(parts.assertions.as_deref(), system_time(parts.clock.now().wall))
}

fn answer(assertions: Option<&dyn Assertions>, now: SystemTime) -> Result<Response, Problem> {
    let keys = assertions.ok_or(Kind::NotFound)?.jwks(now);
    Ok(([(CONTENT_TYPE, MEDIA_TYPE), (CACHE_CONTROL, CACHED)], keys).into_response())
}

/// A time before 1970 is 1970.
fn system_time(time: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;
    use crate::gateway::{Assertion, AssertionStamp, Subject};

    /// Says which time it was asked for.
    struct Clockwork;

    impl Assertions for Clockwork {
        fn assertion(&self, _: Subject<'_>, _: &str, _: SystemTime) -> Option<Assertion> {
            None
        }

        fn serves(&self, _: AssertionStamp, _: SystemTime) -> bool {
            false
        }

        fn jwks(&self, now: SystemTime) -> Bytes {
            format!("{now:?}").into()
        }
    }

    #[tokio::test]
    async fn the_keys_of_now_are_published_with_their_type_and_age() {
        let now = system_time(Timestamp::from_millis(1_795_392_000_250));
        let answer = answer(Some(&Clockwork), now).map_err(|_| "a problem").expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/jwk-set+json");
        assert_eq!(answer.headers()[CACHE_CONTROL], "public, max-age=300");
        let body = axum::body::to_bytes(answer.into_body(), 1024).await.expect("a body");
        assert_eq!(body, format!("{:?}", UNIX_EPOCH + Duration::from_millis(1_795_392_000_250)));
        assert_eq!(system_time(Timestamp::from_millis(-1)), UNIX_EPOCH);
    }

    #[test]
    fn where_nothing_is_signed_there_are_no_keys() {
        let answer = answer(None, UNIX_EPOCH).into_response();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    }
}
