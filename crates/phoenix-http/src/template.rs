//! Path templates in a tree, and the ways in which a path may be read.
//!
//! Phoenix's own routes take a path as it is written. An application behind it may not: it may take `/API//auth/login/`
//! or `/api/%61uth/login` for `/api/auth/login`. So a path that can be read in several ways is looked up in each of
//! them. Does not own what templates lead to, nor what follows from readings that lead to different things: for limits
//! the strictest class counts, and the gateway refuses the request.

use http::Method;

/// Longest template, in bytes.
const MAX_BYTES: usize = 256;
/// Most segments of a template.
const MAX_SEGMENTS: usize = 16;

/// Why a template cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TemplateError {
    /// No slash at the start.
    #[error("a path begins with \"/\"")]
    NoSlash,
    /// Too long.
    #[error("a path has at most {MAX_BYTES} bytes and {MAX_SEGMENTS} parts")]
    TooLong,
    /// Nothing between two slashes, or after the last.
    #[error("a path has no empty part and no slash at its end; both are ignored in requests")]
    EmptySegment,
    /// `.` or `..`.
    #[error("\".\" and \"..\" are not parts of a path")]
    DotSegment,
    /// A brace that is not around a whole segment, or a bad name in braces.
    #[error("braces stand around a whole part and hold a name of a-z, A-Z, 0-9 and _: {{id}}, {{*rest}}")]
    Braces,
    /// `{*rest}` before the end.
    #[error("{{*rest}} stands at the end")]
    RestNotLast,
    /// A character that a template may not hold.
    #[error("a part holds a character other than a-z, A-Z, 0-9 and -._~!$&'()+,=:@")]
    Character,
}

/// One segment of a template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Segment {
    /// This text.
    Literal(String),
    /// Any segment that is not empty: `{id}`.
    Param,
    /// Any number of segments, also none: `{*rest}`.
    Rest,
}

/// Takes a template apart.
pub(crate) fn parse(template: &str) -> Result<Vec<Segment>, TemplateError> {
    let path = template.strip_prefix('/').ok_or(TemplateError::NoSlash)?;
    if template.len() > MAX_BYTES || path.split('/').count() > MAX_SEGMENTS {
        return Err(TemplateError::TooLong);
    }
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let segments = path.split('/').map(segment).collect::<Result<Vec<_>, _>>()?;
    match segments.iter().position(|segment| *segment == Segment::Rest) {
        Some(at) if at + 1 < segments.len() => Err(TemplateError::RestNotLast),
        Some(_) | None => Ok(segments),
    }
}

fn segment(text: &str) -> Result<Segment, TemplateError> {
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        return match name.strip_prefix('*') {
            Some(name) if is_name(name) => Ok(Segment::Rest),
            None if is_name(name) => Ok(Segment::Param),
            Some(_) | None => Err(TemplateError::Braces),
        };
    }
    let is_literal = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()+,=:@".contains(&b);
    match text {
        "" => Err(TemplateError::EmptySegment),
        "." | ".." => Err(TemplateError::DotSegment),
        text if text.contains(['{', '}']) => Err(TemplateError::Braces),
        text if !text.bytes().all(is_literal) => Err(TemplateError::Character),
        text => Ok(Segment::Literal(text.to_owned())),
    }
}

/// Why a template cannot be added.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Conflict<R> {
    /// This route matches the same requests, and leads elsewhere.
    Overlap(R),
    /// At the same place this literal stands in another case.
    Case(String),
}

/// Templates with what each leads to, in a tree. `R` names a route.
#[derive(Debug)]
pub(crate) struct Tree<R> {
    nodes: Vec<Node<R>>,
}

#[derive(Debug)]
struct Node<R> {
    literals: Vec<(String, usize)>,
    param: Option<usize>,
    /// Routes that end here.
    here: Routes<R>,
    /// Routes that go on with anything.
    rest: Routes<R>,
}

/// Routes with one template.
#[derive(Debug)]
struct Routes<R> {
    of_method: Vec<(Method, R)>,
    of_any: Option<R>,
}

impl<R> Default for Node<R> {
    fn default() -> Self {
        let none = || Routes { of_method: Vec::new(), of_any: None };
        Self { literals: Vec::new(), param: None, here: none(), rest: none() }
    }
}

impl<R: Copy> Routes<R> {
    /// A method that is listed comes before all methods. `HEAD` is served by whatever serves `GET`.
    fn get(&self, method: &Method) -> Option<R> {
        let listed =
            |method: &Method| self.of_method.iter().find(|(of, _)| of == method).map(|(_, route)| *route);
        let head = || if *method == Method::HEAD { listed(&Method::GET) } else { None };
        listed(method).or_else(head).or(self.of_any)
    }
}

impl<R: Copy> Tree<R> {
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::default()] }
    }

    /// Adds a route for these methods, or all when there are none. `is_same` says whether two routes lead to the same
    /// class, so that it does not matter which of them a request is taken to.
    pub(crate) fn add(
        &mut self,
        segments: &[Segment],
        methods: &[Method],
        route: R,
        is_same: impl Fn(R, R) -> bool,
    ) -> Result<(), Conflict<R>> {
        let mut node = 0;
        let mut is_rest = false;
        for segment in segments {
            node = match segment {
                Segment::Literal(text) => self.literal_child(node, text)?,
                Segment::Param => self.param_child(node),
                Segment::Rest => {
                    is_rest = true;
                    node
                }
            };
        }
        let Some(node) = self.nodes.get_mut(node) else { return Ok(()) };
        let routes = if is_rest { &mut node.rest } else { &mut node.here };
        let overlap = |other: R| if is_same(other, route) { Ok(()) } else { Err(Conflict::Overlap(other)) };
        if methods.is_empty() {
            return overlap(*routes.of_any.get_or_insert(route));
        }
        for method in methods {
            match routes.of_method.iter().find(|(of, _)| of == method) {
                Some((_, other)) => overlap(*other)?,
                None => routes.of_method.push((method.clone(), route)),
            }
        }
        Ok(())
    }

    fn literal_child(&mut self, parent: usize, text: &str) -> Result<usize, Conflict<R>> {
        let child = self.nodes.len();
        let Some(node) = self.nodes.get_mut(parent) else { return Ok(parent) };
        if let Some((known, child)) = node.literals.iter().find(|(known, _)| known.eq_ignore_ascii_case(text))
        {
            return if known == text { Ok(*child) } else { Err(Conflict::Case(known.clone())) };
        }
        node.literals.push((text.to_owned(), child));
        self.nodes.push(Node::default());
        Ok(child)
    }

    fn param_child(&mut self, parent: usize) -> usize {
        let child = self.nodes.len();
        let Some(node) = self.nodes.get_mut(parent) else { return parent };
        let param = *node.param.get_or_insert(child);
        if param == child {
            self.nodes.push(Node::default());
        }
        param
    }

    /// Calls `found` with the route of every reading of a path: once for a path that can be read in one way only. No
    /// allocation for such a path, nor for one that has capitals and is else written in the shortest way.
    pub(crate) fn find(&self, method: &Method, path: &str, found: impl FnMut(Option<R>)) {
        each_reading(path, &mut Finder { tree: self, method, found });
    }

    /// The route of one reading.
    pub(crate) fn lookup<'a>(
        &self,
        segments: impl Iterator<Item = &'a [u8]> + Clone,
        method: &Method,
        ignore_case: bool,
    ) -> Option<R> {
        self.walk(0, segments, method, ignore_case)
    }

    /// The most specific route: from the left a literal comes before `{id}`, and that before `{*rest}`. Visits each
    /// node at most once, and goes no deeper than the longest template.
    fn walk<'a>(
        &self,
        node: usize,
        mut segments: impl Iterator<Item = &'a [u8]> + Clone,
        method: &Method,
        ignore_case: bool,
    ) -> Option<R> {
        let node = self.nodes.get(node)?;
        let Some(segment) = segments.next() else {
            return node.here.get(method).or_else(|| node.rest.get(method));
        };
        let is_it = |literal: &str| {
            let literal = literal.as_bytes();
            if ignore_case { literal.eq_ignore_ascii_case(segment) } else { literal == segment }
        };
        let literal = node.literals.iter().find(|(literal, _)| is_it(literal)).map(|(_, child)| *child);
        let param = node.param.filter(|_| !segment.is_empty());
        let mut children = literal.into_iter().chain(param);
        let below = children.find_map(|child| self.walk(child, segments.clone(), method, ignore_case));
        below.or_else(|| node.rest.get(method))
    }
}

/// Takes the readings of a path, one after the other.
pub(crate) trait Reader {
    /// One reading: its segments, and whether their case is ignored. The first is the path as it is written.
    fn read<'a>(&mut self, segments: impl Iterator<Item = &'a [u8]> + Clone, ignore_case: bool);
}

/// Looks every reading up in a tree.
struct Finder<'t, R, F> {
    tree: &'t Tree<R>,
    method: &'t Method,
    found: F,
}

impl<R: Copy, F: FnMut(Option<R>)> Reader for Finder<'_, R, F> {
    fn read<'a>(&mut self, segments: impl Iterator<Item = &'a [u8]> + Clone, ignore_case: bool) {
        (self.found)(self.tree.lookup(segments, self.method, ignore_case));
    }
}

/// Shows every reading of a path: one for a path that can be read in one way only.
pub(crate) fn each_reading(path: &str, reader: &mut impl Reader) {
    let oddities = Oddities::of(path.as_bytes());
    let written = path.strip_prefix('/').unwrap_or(path);
    // A slash at the end is no part of any template.
    let written = written.strip_suffix('/').unwrap_or(written);
    let segments = written.split('/').map(str::as_bytes).filter(|_| !written.is_empty());
    reader.read(segments.clone(), false);
    if oddities.capitals {
        reader.read(segments, true);
    }
    if oddities.is_respelt {
        read_respelt(oddities, path.as_bytes(), reader);
    }
    if oddities.twice {
        let once = percent_signs_decoded(path);
        read_respelt(Oddities::of(once.as_bytes()), once.as_bytes(), reader);
    }
}

fn read_respelt(oddities: Oddities, path: &[u8], reader: &mut impl Reader) {
    for reading in oddities.readings() {
        let segments = reading.segments(path);
        reader.read(segments.iter().map(Vec::as_slice), true);
    }
}

/// The path as whoever decodes twice sees it after the first time, as far as it matters to the second.
pub(crate) fn percent_signs_decoded(path: &str) -> String {
    path.replace("%25", "%")
}

/// What of a path may be read in more than one way.
#[derive(Clone, Copy, Default)]
struct Oddities {
    /// Capitals: some applications ignore case.
    capitals: bool,
    /// An empty segment, something percent-encoded, or anything of [`Reading`].
    is_respelt: bool,
    /// Something that is percent-encoded twice.
    twice: bool,
    /// What there is to read in one way or another.
    there: Reading,
}

/// One way to read a path. In all of them what is percent-encoded is decoded once, empty segments are dropped, and
/// case is ignored. What is true here is done by some applications and not by others.
#[derive(Clone, Copy, Default)]
struct Reading {
    /// `\`, `%2F` and `%5C` are taken for `/`.
    slashes: bool,
    /// `.` and `..` as segments, encoded or not, are resolved.
    dots: bool,
    /// `;` and what follows it in a segment is dropped.
    parameters: bool,
}

impl Oddities {
    fn of(path: &[u8]) -> Self {
        let mut oddities = Self::default();
        for (at, byte) in path.iter().copied().enumerate() {
            // Most bytes, and so before the others.
            if matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_') {
                continue;
            }
            let last = at.checked_sub(1).and_then(|before| path.get(before)).copied().unwrap_or(b' ');
            match byte {
                b'A'..=b'Z' => oddities.capitals = true,
                b'%' => {
                    oddities.is_respelt = true;
                    match decoded(path, at) {
                        Some(b'/' | b'\\') => oddities.there.slashes = true,
                        Some(b'.') => oddities.there.dots = true,
                        Some(b'%') => oddities.twice |= is_pair(path, at + 3),
                        Some(_) | None => {}
                    }
                }
                b'\\' => (oddities.is_respelt, oddities.there.slashes) = (true, true),
                b';' => (oddities.is_respelt, oddities.there.parameters) = (true, true),
                b'/' if last == b'/' => oddities.is_respelt = true,
                b'.' => {
                    oddities.there.dots = true;
                    oddities.is_respelt |= matches!(last, b'/' | b' ');
                }
                _ => {}
            }
        }
        oddities
    }

    /// Every way to read a path that has these.
    fn readings(self) -> impl Iterator<Item = Reading> {
        let either = |is_there: bool| if is_there { [false, true].as_slice() } else { [false].as_slice() };
        either(self.there.slashes).iter().flat_map(move |slashes| {
            either(self.there.dots).iter().flat_map(move |dots| {
                let reading =
                    |parameters: &bool| Reading { slashes: *slashes, dots: *dots, parameters: *parameters };
                either(self.there.parameters).iter().map(reading)
            })
        })
    }
}

impl Reading {
    /// The segments of a path, read in this way. Of those that are deeper or longer than any template there is only so
    /// much that they match none: what a long path costs is to look at its bytes, not to keep them.
    fn segments(self, path: &[u8]) -> Vec<Vec<u8>> {
        let mut segments = Segments::default();
        let mut segment = Vec::new();
        let mut in_parameter = false;
        let mut at = 0;
        while let Some(byte) = path.get(at).copied() {
            let encoded = if byte == b'%' { decoded(path, at) } else { None };
            at += if encoded.is_some() { 3 } else { 1 };
            let read = encoded.unwrap_or(byte);
            let is_slash = match read {
                b'/' => encoded.is_none() || self.slashes,
                b'\\' => self.slashes,
                _ => false,
            };
            if is_slash {
                in_parameter = false;
                self.take(&mut segment, &mut segments);
                // Each way back takes a slash and two dots.
                let most_back = if self.dots { (path.len() - at + 1) / 3 } else { 0 };
                if segments.deeper > most_back {
                    break;
                }
            } else if self.parameters && read == b';' && encoded.is_none() {
                in_parameter = true;
            } else if !in_parameter && segment.len() <= MAX_BYTES {
                segment.push(read);
            }
        }
        self.take(&mut segment, &mut segments);
        segments.kept
    }

    /// Adds a segment, with the meaning that RFC 3986, section 5.2.4, gives to dots.
    fn take(self, segment: &mut Vec<u8>, segments: &mut Segments) {
        match segment.as_slice() {
            b"" => {}
            b"." if self.dots => {}
            b".." if self.dots => segments.pop(),
            _ => segments.push(std::mem::take(segment)),
        }
        segment.clear();
    }
}

/// The first segments of a path, and how many more there are.
#[derive(Default)]
struct Segments {
    /// One more than a template can have, at most.
    kept: Vec<Vec<u8>>,
    deeper: usize,
}

impl Segments {
    fn push(&mut self, segment: Vec<u8>) {
        if self.kept.len() <= MAX_SEGMENTS {
            self.kept.push(segment);
        } else {
            self.deeper += 1;
        }
    }

    fn pop(&mut self) {
        match self.deeper.checked_sub(1) {
            Some(deeper) => self.deeper = deeper,
            None => drop(self.kept.pop()),
        }
    }
}

/// Whether two hexadecimal digits stand at `at`.
fn is_pair(path: &[u8], at: usize) -> bool {
    path.get(at..at + 2).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
}

/// The byte that is percent-encoded at `at`.
pub(crate) fn decoded(path: &[u8], at: usize) -> Option<u8> {
    let digit = |at: usize| path.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    u8::try_from(digit(at + 1)? * 16 + digit(at + 2)?).ok()
}
