//! An outside identity provider: `https://issuer.example audience=my-app`, with more parts after spaces.
//! Does not own what the parts mean, and fetches nothing.

use serde_json::{Value as Json, json};

use super::{Choice, text};
use crate::{
    setting::{Kind, Literal, Raw, Refusal},
    values::{OidcIssuer, Origin, SignatureAlgorithm},
};

/// Longest URL of an issuer or of its keys, in bytes.
const MAX_URL_BYTES: usize = 2048;

/// Most audiences of one issuer.
const MAX_AUDIENCES: usize = 8;

/// Longest audience, in bytes.
const MAX_AUDIENCE_BYTES: usize = 512;

/// Stands between two algorithms.
const ALGORITHM_SEPARATOR: char = '+';

/// An issuer, the audiences of its tokens, and where it differs from the default its keys and algorithms.
pub(crate) struct Issuer;

impl Kind<OidcIssuer> for Issuer {
    fn parse(&self, raw: &Raw<'_>) -> Result<OidcIssuer, Refusal> {
        let mut words = text(raw)?.split_whitespace();
        let issuer = words.next().ok_or_else(|| Refusal::because("it is empty"))?;
        check_url("issuer", issuer, false)?;
        let mut parts = Parts::default();
        for (index, word) in words.enumerate() {
            parts.add(index + 2, word)?;
        }
        if parts.audiences.is_empty() {
            return Err(Refusal::because("it names no audience").remedy(format!(
                "add audience= and what the tokens meant for you say in \"aud\", such as \"{issuer} audience=my-app\""
            )));
        }
        Ok(OidcIssuer {
            issuer: issuer.to_owned(),
            audiences: parts.audiences,
            jwks: parts.jwks,
            algorithms: parts.algorithms.unwrap_or_else(|| SignatureAlgorithm::ALL.to_vec()),
        })
    }

    fn show(&self, value: &OidcIssuer) -> Option<Literal> {
        let OidcIssuer { issuer, audiences, jwks, algorithms } = value;
        let mut words = vec![issuer.clone()];
        words.extend(audiences.iter().map(|audience| format!("audience={audience}")));
        words.extend(jwks.iter().map(|jwks| format!("jwks={jwks}")));
        if *algorithms != SignatureAlgorithm::ALL {
            let names: Vec<&str> = algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
            words.push(format!("algorithms={}", names.join("+")));
        }
        Some(Literal::Text(words.join(" ")))
    }

    fn describe(&self) -> String {
        format!(
            "an issuer with its audiences, such as \"https://issuer.example audience=my-app\"; up to \
             {MAX_AUDIENCES} times audience=, once jwks=https://issuer.example/keys and once \
             algorithms=ES256+RS256+EdDSA may follow it"
        )
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^ ?#]+( +(audience|jwks|algorithms)=[^ ]+)+$"})
    }

    fn name_in_list(&self, value: &OidcIssuer) -> Option<String> {
        Some(format!("issuer {}", value.issuer))
    }
}

/// What stands after the issuer.
#[derive(Default)]
struct Parts {
    audiences: Vec<String>,
    jwks: Option<String>,
    algorithms: Option<Vec<SignatureAlgorithm>>,
}

impl Parts {
    /// Takes the part at `place`, counted from 1. Words that are not understood may be long and are not repeated.
    fn add(&mut self, place: usize, word: &str) -> Result<(), Refusal> {
        match word.split_once('=') {
            Some(("audience", audience)) => self.add_audience(audience),
            Some(("jwks", _)) if self.jwks.is_some() => Err(Refusal::because("jwks= is written twice")),
            Some(("jwks", url)) => {
                check_url("jwks URL", url, true)?;
                self.jwks = Some(url.to_owned());
                Ok(())
            }
            Some(("algorithms", _)) if self.algorithms.is_some() => {
                Err(Refusal::because("algorithms= is written twice")
                    .remedy("write them once with + between them: algorithms=ES256+RS256"))
            }
            Some(("algorithms", names)) => {
                self.algorithms = Some(algorithms(names)?);
                Ok(())
            }
            Some(_) | None => {
                Err(Refusal::because(format!("its part {place} is not audience=, jwks= or algorithms=")))
            }
        }
    }

    fn add_audience(&mut self, audience: &str) -> Result<(), Refusal> {
        if audience.is_empty() {
            return Err(Refusal::because("an audience is empty"));
        }
        if audience.len() > MAX_AUDIENCE_BYTES {
            return Err(Refusal::because(format!(
                "an audience is {} bytes long; the most allowed is {MAX_AUDIENCE_BYTES}",
                audience.len()
            )));
        }
        if audience.contains(char::is_control) {
            return Err(Refusal::because("an audience holds a control character"));
        }
        if self.audiences.iter().any(|known| known == audience) {
            return Err(Refusal::because(format!("the audience \"{audience}\" is written twice")));
        }
        if self.audiences.len() == MAX_AUDIENCES {
            return Err(Refusal::because(format!("it has more than {MAX_AUDIENCES} audiences")));
        }
        self.audiences.push(audience.to_owned());
        Ok(())
    }
}

fn algorithms(names: &str) -> Result<Vec<SignatureAlgorithm>, Refusal> {
    let word = Choice::<SignatureAlgorithm>::NEW;
    let mut algorithms = Vec::with_capacity(SignatureAlgorithm::ALL.len());
    for (index, name) in names.split(ALGORITHM_SEPARATOR).enumerate() {
        let algorithm = word.parse(&Raw::Text(name)).map_err(|refusal| {
            let remedy = refusal.remedy.unwrap_or_else(|| format!("use {}", word.describe()));
            Refusal::because(format!("its algorithm {} is not one that is known here", index + 1))
                .remedy(remedy)
        })?;
        if algorithms.contains(&algorithm) {
            return Err(Refusal::because(format!("the algorithm {} is written twice", algorithm.as_str())));
        }
        algorithms.push(algorithm);
    }
    Ok(algorithms)
}

/// Refuses what is not an absolute URL under which a secret-free document can be fetched unchanged: `https`, or `http`
/// on this machine, and characters that a URL may hold (RFC 3986, section 2).
fn check_url(what: &str, url: &str, may_have_query: bool) -> Result<(), Refusal> {
    let because = |reason: &str| Err(Refusal::because(format!("in the {what}: {reason}")));
    if url.len() > MAX_URL_BYTES {
        return because(&format!("it is {} bytes long; the most allowed is {MAX_URL_BYTES}", url.len()));
    }
    let authority = url.find("://").map_or(0, |at| at + "://".len());
    let end = url[authority..].find(['/', '?', '#']).map_or(url.len(), |at| authority + at);
    let (origin, rest) = url.split_at(end);
    let origin = match Origin::parse(origin) {
        Ok(origin) => origin,
        Err(reason) => return because(reason),
    };
    if !origin.is_private_on_the_way() {
        return Err(Refusal::because(format!("the {what} is plain http to another machine"))
            .remedy("use https; http is for localhost, 127.0.0.1 and [::1] only"));
    }
    if rest.contains('#') {
        return because("it has a fragment (\"#\"), which has no meaning there");
    }
    if rest.contains('?') && !may_have_query {
        return because("it has a query (\"?\"), which an issuer never has");
    }
    if !rest.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b)) {
        return because("it holds a character that a URL has to percent-encode");
    }
    Ok(())
}
