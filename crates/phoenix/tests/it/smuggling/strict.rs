//! Reads requests as strictly as RFC 9112 allows, and in the plainest way: what a client's bytes mean, independent of
//! the code under test. Whatever is in doubt is an error. Not fast, and knows nothing of Phoenix.

/// One request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) version: String,
    /// Names in lower case, in their order.
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(String, Vec<u8>)>,
}

impl Meaning {
    /// The values of the fields with this name.
    pub(super) fn all(&self, name: &str) -> Vec<&[u8]> {
        self.fields.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_slice()).collect()
    }
}

/// All requests in these bytes, which must hold nothing else.
pub(super) fn read(mut bytes: &[u8]) -> Result<Vec<Meaning>, String> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        all.push(request(&mut bytes)?);
    }
    Ok(all)
}

fn request(bytes: &mut &[u8]) -> Result<Meaning, String> {
    let line = line(bytes)?;
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words.as_slice() else { return Err("a request line has 3 words".into()) };
    if !is_token(method) || target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err("the method or the target".into());
    }
    if !matches!(*version, b"HTTP/1.1" | b"HTTP/1.0") {
        return Err("the version".into());
    }
    let fields = fields(bytes)?;
    let mut meaning = Meaning {
        method: text(method),
        target: text(target),
        version: text(version),
        fields,
        ..Meaning::default()
    };
    let codings = meaning.all("transfer-encoding");
    let lengths = meaning.all("content-length");
    match (codings.as_slice(), lengths.as_slice()) {
        ([], []) => {}
        ([], [length]) => {
            let length = number(length, 10)?;
            meaning.body = take(bytes, length)?.to_vec();
        }
        ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") && *version == b"HTTP/1.1" => {
            (meaning.body, meaning.trailers) = chunks(bytes)?;
        }
        _ => return Err("the frame is in doubt".into()),
    }
    Ok(meaning)
}

/// A body, and the fields behind it.
type Chunks = (Vec<u8>, Vec<(String, Vec<u8>)>);

fn chunks(bytes: &mut &[u8]) -> Result<Chunks, String> {
    let mut body = Vec::new();
    loop {
        let line = line(bytes)?;
        // An extension has no meaning (RFC 9112 section 7.1.1).
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let size = number(size, 16)?;
        if size == 0 {
            return Ok((body, fields(bytes)?));
        }
        body.extend_from_slice(take(bytes, size)?);
        if take(bytes, 2)? != b"\r\n" {
            return Err("a chunk ends with CRLF".into());
        }
    }
}

fn fields(bytes: &mut &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut fields = Vec::new();
    loop {
        let line = line(bytes)?;
        if line.is_empty() {
            return Ok(fields);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or("a field has a colon")?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if !is_token(name) || value.iter().any(|byte| *byte < b' ' && *byte != b'\t' || *byte == 0x7F) {
            return Err("a field's name or value".into());
        }
        fields.push((text(name).to_ascii_lowercase(), value.to_vec()));
    }
}

/// Up to the next CRLF; no other CR or LF may come before.
fn line<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let end = bytes.windows(2).position(|two| two == b"\r\n").ok_or("a line ends with CRLF")?;
    let line = &bytes[..end];
    *bytes = &bytes[end + 2..];
    if line.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return Err("a bare CR or LF".into());
    }
    Ok(line)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or("the body is not complete")?;
    *bytes = rest;
    Ok(taken)
}

fn number(digits: &[u8], radix: u32) -> Result<usize, String> {
    let is_number = !digits.is_empty() && digits.iter().all(|byte| char::from(*byte).is_digit(radix));
    is_number.then(|| usize::from_str_radix(&text(digits), radix).ok()).flatten().ok_or("a number".into())
}

fn is_token(name: &[u8]) -> bool {
    !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_judge_reads_what_is_right_and_nothing_else() {
    let right = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;e\r\nabc\r\n0\r\nT: u\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n";
    let read_right = read(right).unwrap();
    assert_eq!((read_right[0].body.as_slice(), read_right[1].target.as_str()), (&b"abc"[..], "/b"));
    assert_eq!(read_right[0].trailers, [("t".to_owned(), b"u".to_vec())]);
    let wrong: [&[u8]; 8] = [
        b"GET  /a HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/1.2\r\n\r\n",
        b"GET /a HTTP/1.1\nHost: x\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        b"GET /a HTTP/1.1\r\nContent-Length: +1\r\n\r\na",
        b"GET /a HTTP/1.1\r\nContent-Length: 2\r\n\r\na",
        b"GET /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    ];
    for bytes in wrong {
        assert!(read(bytes).is_err(), "{}", text(bytes));
    }
}
