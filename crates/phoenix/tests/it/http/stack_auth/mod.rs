//! Tokens of outside identity providers, end to end: Stack Auth played by the testkit's fake, and other issuers
//! (`OpenID` Connect) played by `issuer`.

mod accounts;
mod carriers;
mod crowd;
mod ended_there;
mod issuer;
mod keys;
mod limits;
mod oidc;
mod pool;
mod refused;
mod setup;
mod sign_out;
mod webhooks;
