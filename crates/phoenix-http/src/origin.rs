//! The same-origin rule for requests that a browser could be made to send (OWASP ASVS 5.0, 3.5.1).

use http::header::ORIGIN;
use http::{HeaderMap, HeaderName, Request, Uri};

use crate::cookie::requested_host;
use crate::extract::Identity;
use crate::problem::{Kind, Problem};
use crate::settings::HttpSettings;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a request says about the page that sent it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Provenance {
    /// A page of ours, or of an allowed origin.
    SameOrigin,
    /// Another site's page.
    CrossOrigin,
    /// Not said: no browser, or a very old one.
    Unknown,
}

impl Provenance {
    /// `Sec-Fetch-Site`, which pages cannot set, before `Origin`.
    /// Pages of the origins in `also` count as ours, too.
    pub(crate) fn of_request(
        settings: &HttpSettings,
        also: &[String],
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Self {
        let origin = headers.get(ORIGIN).map(|value| value.to_str().unwrap_or("invalid"));
        let allowed = origin.is_some_and(|origin| {
            also.iter().any(|also| also.eq_ignore_ascii_case(origin))
                || is_ours(settings, origin, uri, headers)
        });
        match (headers.get(SEC_FETCH_SITE), origin) {
            (Some(site), _) if site == "same-origin" => Self::SameOrigin,
            (_, Some(_)) if allowed => Self::SameOrigin,
            (None, None) => Self::Unknown,
            _ => Self::CrossOrigin,
        }
    }
}

/// Refuses what a browser may have been made to send. A login that does not say where it comes from goes on without
/// the session it was sent with.
pub(crate) fn check<B>(
    settings: &HttpSettings,
    also: &[String],
    request: &Request<B>,
    opens_sessions: bool,
    identity: &mut Identity,
) -> Result<(), Problem> {
    let by_cookie = matches!(identity, Identity::Known(_, carrier) if carrier.is_cookie());
    let provenance = Provenance::of_request(settings, also, request.uri(), request.headers());
    match provenance {
        Provenance::CrossOrigin if by_cookie || opens_sessions => Err(Kind::CrossOrigin.into()),
        Provenance::Unknown if by_cookie && opens_sessions => {
            *identity = Identity::Anonymous;
            Ok(())
        }
        Provenance::Unknown if by_cookie => Err(Problem::new(Kind::CrossOrigin)
            .detail("Send an Origin header with this server's address, or use Authorization: Bearer.")),
        Provenance::SameOrigin | Provenance::CrossOrigin | Provenance::Unknown => Ok(()),
    }
}

fn is_ours(settings: &HttpSettings, origin: &str, uri: &Uri, headers: &HeaderMap) -> bool {
    if settings.allowed_origins.iter().any(|allowed| allowed.0.eq_ignore_ascii_case(origin)) {
        return true;
    }
    if let Some(public) = &settings.public_origin {
        return public.0.eq_ignore_ascii_case(origin);
    }
    // Without a public address, ours is what the client asked for. The scheme is not compared: TLS may end in
    // front of us.
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    requested_host(uri, headers).zip(authority).is_some_and(|(asked, sent)| asked.eq_ignore_ascii_case(sent))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;
    use http::header::HOST;

    use super::*;
    use crate::settings::WebOrigin;

    fn settings(public: Option<&str>) -> HttpSettings {
        HttpSettings {
            version: "0",
            public_origin: public.map(|text| WebOrigin(text.to_owned())),
            allowed_origins: vec![WebOrigin("https://app.example.com".to_owned())],
            provider: None,
            answers_proxies: false,
            sign_in: None,
            client_address: crate::ClientAddressSettings::direct(),
            max_body_bytes: 1,
            max_uri_bytes: 1,
            body_timeout: Duration::ZERO,
            request_timeout: Duration::ZERO,
            hsts: None,
            admin_certificate: false,
            instance: 0,
        }
    }

    fn judge(public: Option<&str>, pairs: &[(&'static str, &'static str)]) -> Provenance {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("auth.example.com"));
        for (name, value) in pairs {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Provenance::of_request(
            &settings(public),
            &["https://partner.example".to_owned()],
            &Uri::from_static("/"),
            &headers,
        )
    }

    #[test]
    fn only_our_own_and_allowed_pages_pass() {
        use Provenance::{CrossOrigin, SameOrigin, Unknown};
        assert_eq!(judge(None, &[]), Unknown);
        assert_eq!(judge(None, &[("sec-fetch-site", "same-origin")]), SameOrigin);
        for site in ["cross-site", "same-site", "none", "", "Same-Origin"] {
            assert_eq!(judge(None, &[("sec-fetch-site", site)]), CrossOrigin, "{site}");
        }
        assert_eq!(judge(None, &[("origin", "https://auth.example.com")]), SameOrigin);
        assert_eq!(judge(None, &[("origin", "https://app.example.com")]), SameOrigin);
        assert_eq!(judge(None, &[("origin", "https://partner.example")]), SameOrigin, "named by the route");
        assert_eq!(
            judge(None, &[("sec-fetch-site", "same-site"), ("origin", "https://app.example.com")]),
            SameOrigin
        );
        for origin in
            ["null", "https://evil.example", "https://auth.example.com.evil.example", "auth.example.com", ""]
        {
            assert_eq!(judge(None, &[("origin", origin)]), CrossOrigin, "{origin}");
        }
        let public = Some("https://login.example.com");
        assert_eq!(judge(public, &[("origin", "https://login.example.com")]), SameOrigin);
        assert_eq!(judge(public, &[("origin", "https://auth.example.com")]), CrossOrigin);
    }
}
