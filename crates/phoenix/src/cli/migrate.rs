//! `phoenix migrate`

use clap::Args;
use phoenix_config::Config;
use phoenix_store::migrate::MigrationStatus;
use serde_json::json;

use super::{Failure, output};
use crate::app;
use crate::database::DatabaseOptions;
use crate::entropy;
use crate::lifecycle::Lifecycle;
use crate::serve::system_world;

#[derive(Args, Debug)]
pub(super) struct MigrateArgs {
    /// Only show where the database stands
    #[arg(long)]
    status: bool,
    /// Accept the present secret key in place of the one used so far, and sign everybody out
    #[arg(long, conflicts_with = "status")]
    new_secret_key: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(config: &Config, args: &MigrateArgs) -> Result<(), Failure> {
    let (lifecycle, world) = (Lifecycle::new(), system_world());
    let options = DatabaseOptions::of(config, entropy::number(&*world.entropy))?;
    let status = if args.status {
        options.status(lifecycle.tracker()).await?
    } else {
        options.migrate(lifecycle.tracker()).await?
    };
    if args.new_secret_key {
        let database = options.open(lifecycle.tracker()).await?;
        let keys = app::derive_keys(config, &database, &world).await?;
        database.instance().replace_fingerprint(keys.fingerprint()).await?.acknowledge();
        database.close().await;
    }
    let view = json!({
        "applied": status.applied.iter().map(|step| json!({
            "version": step.version, "name": step.name, "appliedAt": step.applied_at.to_string(),
        })).collect::<Vec<_>>(),
        "pending": status.pending.iter().map(|step| json!({
            "version": step.version, "name": step.name,
        })).collect::<Vec<_>>(),
    });
    output::value(args.json, &view, || describe(&status))
}

fn describe(status: &MigrationStatus) -> String {
    let mut text = String::new();
    for step in &status.applied {
        text += &format!("{:04}  {:32}  applied {}\n", step.version, step.name, step.applied_at);
    }
    for step in &status.pending {
        text += &format!("{:04}  {:32}  pending\n", step.version, step.name);
    }
    text
}
