//! A disk that takes no more: what needs a write is refused, what does not goes on, and nothing is half written.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::support::{ADMIN, PASSWORD, login, me, phoenix, register, token};

/// What the largest file may still grow by, in KiB.
const ROOM_KIB: u64 = 64;
/// Far more accounts than fit into that.
const MOST_ACCOUNTS: usize = 200;

/// Runs the program with no file larger than this. A write beyond it fails instead of ending the process.
fn limited_to(kib: u64) -> [String; 3] {
    // dash counts in blocks of 512 bytes, bash in KiB; `prlimit` counts in bytes whatever the shell is.
    let script = format!("trap '' XFSZ; exec prlimit --fsize={} \"$0\" \"$@\"", kib * 1024);
    ["sh".to_owned(), "-c".to_owned(), script]
}

fn largest_kib(folder: &Path) -> Result<u64> {
    let sizes = fs::read_dir(folder)?.map(|file| Ok(file?.metadata()?.len()));
    let sizes = sizes.collect::<Result<Vec<u64>>>()?;
    Ok(sizes.into_iter().max().unwrap_or(0).div_ceil(1024))
}

// spec: D15
#[tokio::test]
async fn with_a_full_disk_reads_go_on_and_writes_are_refused_until_there_is_room() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let start = phoenix().env("PHOENIX_DATA_DIR", data.to_string_lossy());
    let roomy = start.clone().start()?;
    let before = token(&register(&roomy.client(), "before@example.com").await?, 201);
    roomy.terminate()?;

    let full = start.clone().run_under(limited_to(largest_kib(&data)? + ROOM_KIB)).start()?;
    let client = &full.client();
    let mut made = Vec::new();
    let mut refused = None;
    for number in 0..MOST_ACCOUNTS {
        let email = format!("user-{number}@example.com");
        let answer = register(client, &email).await?;
        if answer.status != 201 {
            refused = Some((email, answer));
            break;
        }
        made.push((email, token(&answer, 201)));
    }
    let (lost, answer) = refused.expect("the limit is reached");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.json()["code"], "read-only", "{}", answer.text());
    assert!(answer.header("retry-after").is_some());

    // A login writes less than a registration: some may still fit.
    let mut opened = Vec::new();
    let mut refused = None;
    for _ in 0..MOST_ACCOUNTS {
        let answer = login(client, ADMIN, PASSWORD).await?;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
        opened.push((ADMIN.to_owned(), token(&answer, 200)));
    }
    let answer = refused.expect("the limit is reached by logins, too");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.json()["code"], "read-only", "{}", answer.text());
    assert!(answer.header("retry-after").is_some());

    for _ in 0..3 {
        assert_eq!(login(client, ADMIN, PASSWORD).await?.status, 503, "a login opens a session");
        assert_eq!(me(client, &before).await?, 200, "a session of before");
        assert_eq!(client.get("/readyz").send().await?.status, 200);
    }
    made.extend(opened);
    for (email, token) in &made {
        assert_eq!(me(client, token).await?, 200, "{email}");
    }
    assert!(full.pid().is_some(), "the process goes on");
    full.kill9()?;

    let roomy = start.start()?;
    let client = &roomy.client();
    for (email, token) in &made {
        assert_eq!(me(client, token).await?, 200, "{email} was acknowledged");
    }
    assert_eq!(login(client, &lost, PASSWORD).await?.status, 401, "what was refused is not there");
    assert_eq!(register(client, &lost).await?.status, 201, "and can be done again");
    Ok(())
}
