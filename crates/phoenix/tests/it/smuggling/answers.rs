//! Splits what a client received on one connection into answers, strictly: a byte that belongs to none is a failure.

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// The connection ended before the body did.
    pub(super) is_cut: bool,
}

impl Answer {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The target that the application says it was asked for, if it was the application that answered.
    pub(super) fn echoed_target(&self) -> Option<String> {
        let json: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        json["target"].as_str().map(str::to_owned)
    }
}

/// The final answers, in their order, to requests with these methods.
pub(super) fn read(mut bytes: &[u8], is_head: impl Fn(usize) -> bool) -> Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let end = find(bytes, b"\r\n\r\n").ok_or_else(|| format!("no head: {}", show(bytes)))?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes = &bytes[end + 4..];
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.1 ").or_else(|| first.strip_prefix("HTTP/1.0 "));
        let status = status.and_then(|rest| rest.get(..3)).and_then(|digits| digits.parse::<u16>().ok());
        let status = status.ok_or_else(|| format!("no status line: {first:?}"))?;
        let fields: Vec<(String, String)> = lines
            .map(|line| {
                line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            })
            .collect::<Option<_>>()
            .ok_or_else(|| format!("no field: {head:?}"))?;
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let mut answer = Answer { status, fields, body: Vec::new(), is_cut: false };
        if status != 101 && status != 204 && status != 304 && !is_head(answers.len()) {
            body(&mut answer, &mut bytes)?;
        }
        answers.push(answer);
    }
    Ok(answers)
}

fn body(answer: &mut Answer, bytes: &mut &[u8]) -> Result<(), String> {
    if answer.field("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        return chunks(answer, bytes);
    }
    let length = answer.field("content-length").map(str::parse::<usize>);
    let length = length.unwrap_or(Ok(bytes.len())).map_err(|_| "no length")?;
    let there = length.min(bytes.len());
    answer.is_cut = there < length;
    answer.body = bytes[..there].to_vec();
    *bytes = &bytes[there..];
    Ok(())
}

fn chunks(answer: &mut Answer, bytes: &mut &[u8]) -> Result<(), String> {
    loop {
        let Some(end) = find(bytes, b"\r\n") else {
            (answer.is_cut, *bytes) = (true, &[]);
            return Ok(());
        };
        let size =
            std::str::from_utf8(&bytes[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or_else(|| format!("no size of a chunk: {}", show(bytes)))?;
        *bytes = &bytes[end + 2..];
        if size == 0 {
            loop {
                let end = find(bytes, b"\r\n").ok_or("no end of the trailers")?;
                let is_empty = end == 0;
                *bytes = &bytes[end + 2..];
                if is_empty {
                    return Ok(());
                }
            }
        }
        let there = size.min(bytes.len());
        answer.body.extend_from_slice(&bytes[..there]);
        *bytes = &bytes[there..];
        match bytes.strip_prefix(b"\r\n") {
            Some(rest) => *bytes = rest,
            None if bytes.is_empty() => {
                answer.is_cut = true;
                return Ok(());
            }
            None => return Err(format!("no end of a chunk: {}", show(bytes))),
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Bytes for a message.
pub(super) fn show(bytes: &[u8]) -> String {
    bytes.iter().take(600).flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect()
}
