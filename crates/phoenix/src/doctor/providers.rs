//! Checks of outside identity providers.

use super::catalogue as check;
use super::finding::{Area, Finding};
use super::{Said, Subject, bounded, skip_rest};
use crate::entropy;
use crate::providers::Providers;
use phoenix_identity::KeySetStats;

type Seen = Option<Result<Vec<KeySetStats>, String>>;

pub(super) async fn look(subject: &Subject<'_>) -> Seen {
    let seed = entropy::number(&*subject.world.entropy);
    let providers = match Providers::of(subject.config, seed) {
        Ok(providers) => providers?,
        Err(error) => return Some(Err(error.said())),
    };
    let now = subject.world.clock.mono();
    let fetch = async {
        providers.identity.refresh_keys(now).await;
        anyhow::Ok(())
    };
    // Of those that were in time the keys are there, whatever became of the others.
    let _late = bounded(fetch).await;
    Some(Ok(providers.identity.stats(now)))
}

pub(super) fn judge(subject: &Subject<'_>, seen: Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    match seen {
        None => skip_rest(Area::Identity, &mut findings, "no identity provider is configured"),
        Some(Err(error)) => {
            findings.push(
                check::PROVIDER_KEYS
                    .failure(error, "correct the settings of the provider: docs/operations/identity.md"),
            );
        }
        Some(Ok(stats)) => {
            let keys = |stats: &KeySetStats| {
                let found = match stats.keys {
                    0 => format!("{}: its keys cannot be fetched", stats.provider),
                    keys => format!("{}: {keys} keys", stats.provider),
                };
                let mend = "let Phoenix connect to the provider, and correct its address: docs/operations/identity.md; \
                            PHOENIX_TRUST_FILE for an authority of your own";
                check::PROVIDER_KEYS.ok_or_failure(stats.keys > 0, found, mend)
            };
            findings.extend(stats.iter().map(keys));
        }
    }
    if let Some(stack) = &subject.config.stack {
        let has_webhooks = stack.webhook_secret.is_some();
        let mend = "make a webhook endpoint in the dashboard and set STACK_WEBHOOK_SECRET";
        let found = if has_webhooks { "accepted" } else { "not accepted" };
        findings.push(check::WEBHOOKS.ok_or_warning(has_webhooks, found, mend));
    }
    skip_rest(Area::Identity, &mut findings, "no Stack Auth project is configured");
    findings
}
