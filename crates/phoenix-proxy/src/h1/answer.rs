//! The body of an answer, which drives its connection, and gives it back to the server's pool at its end.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::sync::PollSender;
use tokio_util::task::TaskTracker;

use super::Link;
use super::chunked::{Chunked, Malformed, Read};
use super::head::Length;
use crate::body::{self, AnswerBody, AnswerError};
use crate::failure::Failure;
use crate::hygiene;
use crate::pause::Pauses;
use crate::request_body::Progress;
use crate::server::Place;

/// What an answer's body needs besides its length.
pub(crate) struct Rest {
    pub(crate) link: Box<Link>,
    pub(crate) place: Place,
    pub(crate) progress: Option<Arc<Progress>>,
    pub(crate) idle: Duration,
    /// Until when the connection may be used again; `None` if it must not.
    pub(crate) usable_until: Option<Duration>,
}

/// Body of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    source: Source,
    /// Came with the head.
    first: Option<Frame<Bytes>>,
    place: Option<Place>,
    pauses: Pauses,
    progress: Option<Arc<Progress>>,
    seen: u32,
    usable_until: Option<Duration>,
    /// Bytes that are still to be handed on, where their number was said.
    left: Option<u64>,
}

/// Where the body of an answer comes from.
#[derive(Debug)]
enum Source {
    /// The connection, which is driven here.
    Link(Box<Link>, Decoder),
    /// A task that drives it.
    Task { parts: mpsc::Receiver<Result<Part, AnswerError>>, _task: Task },
    /// Nothing is to come.
    Over,
}

/// Dropping it closes the connection.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A part of a body. The last one may be empty.
#[derive(Debug)]
pub struct Part {
    /// Data or trailers, if there are any.
    pub frame: Option<Frame<Bytes>>,
    /// Nothing of the body follows.
    pub is_last: bool,
}

/// Takes the body off what was read.
#[derive(Debug)]
pub struct Decoder(Left);

/// What is left of it.
#[derive(Debug)]
enum Left {
    Exact(u64),
    Chunked(Chunked),
    UntilClose,
}

impl Decoder {
    /// For a body that ends like this.
    #[must_use]
    pub fn new(length: Length) -> Self {
        Self(match length {
            Length::Exact(length) => Left::Exact(length),
            Length::Chunked => Left::Chunked(Chunked::new()),
            Length::UntilClose => Left::UntilClose,
        })
    }

    /// The next part of what is there, which is taken off the input; `None` if more is needed.
    ///
    /// # Errors
    /// When the chunks of the body are malformed. Nothing else can be read of it then.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Part>, Malformed> {
        let (data, is_last) = match &mut self.0 {
            Left::Exact(left) => {
                let there = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left = left.saturating_sub(there as u64);
                (input.split_to(there).freeze(), *left == 0)
            }
            Left::Chunked(chunks) => match chunks.next(input)? {
                Read::More => return Ok(None),
                Read::Data(data) => (data, chunks.is_last(input)),
                Read::End(trailers) => {
                    let frame = trailers.and_then(hygiene::trailers).map(Frame::trailers);
                    return Ok(Some(Part { frame, is_last: true }));
                }
            },
            Left::UntilClose => (input.split().freeze(), false),
        };
        let frame = (!data.is_empty()).then(|| Frame::data(data));
        Ok((frame.is_some() || is_last).then_some(Part { frame, is_last }))
    }

    /// The next part, as soon as it is there.
    fn poll(&mut self, link: &mut Link, context: &mut Context<'_>) -> Poll<Result<Part, AnswerError>> {
        loop {
            match self.next(&mut link.input) {
                Ok(Some(part)) => return Poll::Ready(Ok(part)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(AnswerError::Broken(error.into()))),
            }
            let expected = if let Left::Exact(left) = self.0 { left } else { 0 };
            match (ready!(link.poll_fill(context, expected)), &self.0) {
                (Ok(0), Left::UntilClose) => return Poll::Ready(Ok(Part { frame: None, is_last: true })),
                (Ok(0), Left::Exact(_) | Left::Chunked(_)) => {
                    let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Poll::Ready(Err(AnswerError::Broken(cut.into())));
                }
                (Ok(_), _) => {}
                (Err(error), _) => return Poll::Ready(Err(AnswerError::Broken(error.into()))),
            }
        }
    }
}

/// The body of an answer. What has come with the head is taken at once: most answers are complete then, and their
/// connection is free.
pub(crate) fn answer(length: Length, rest: Rest, tasks: &TaskTracker) -> Result<AnswerBody, Failure> {
    let Rest { mut link, place, progress, idle, usable_until } = rest;
    let mut decoder = Decoder::new(length);
    let left = if let Length::Exact(length) = length { Some(length) } else { None };
    let is_sent = link.upload.is_over();
    let part = if is_sent {
        // Nothing was sent to the client yet.
        decoder.next(&mut link.input).map_err(|_| Failure::Garbage)?
    } else {
        None
    };
    let is_last = part.as_ref().is_some_and(|part| part.is_last);
    let first = part.and_then(|part| part.frame);
    let server = Arc::clone(place.server());
    let mut answer = Answer {
        source: Source::Over,
        first,
        place: None,
        pauses: Pauses::new(idle),
        progress,
        seen: 0,
        usable_until,
        left,
    };
    if is_last {
        give_back(link, &place, usable_until);
        match answer.first.map(Frame::into_data) {
            None => return Ok(AnswerBody::EMPTY),
            Some(Ok(data)) => return Ok(AnswerBody(body::Answer::Whole(data))),
            Some(Err(trailers)) => answer.first = Some(trailers),
        }
    } else {
        answer.place = Some(place);
        // Where the answer came before the end of the request: a client may send all before it reads anything, so the
        // upload must go on though nobody asks for the body.
        answer.source = if is_sent { Source::Link(link, decoder) } else { detach(link, decoder, tasks) };
    }
    Ok(AnswerBody(body::Answer::Stream(server.stalls.watch(body::Stream::Http1(answer), idle))))
}

/// Lets a task carry the request and its answer on, until the answer ends, or nobody wants it.
fn detach(mut link: Box<Link>, mut decoder: Decoder, tasks: &TaskTracker) -> Source {
    let (sender, parts) = mpsc::channel(1);
    let mut sender = PollSender::new(sender);
    let task = tasks.spawn(poll_fn(move |context| {
        // An error of the upload shows in the answer, which may say why.
        let _ = link.poll_upload(context);
        loop {
            if ready!(sender.poll_reserve(context)).is_err() {
                return Poll::Ready(());
            }
            let part = ready!(decoder.poll(&mut link, context));
            let is_over = part.as_ref().map_or(true, |part| part.is_last);
            if sender.send_item(part).is_err() || is_over {
                return Poll::Ready(());
            }
        }
    }));
    Source::Task { parts, _task: Task(task.abort_handle()) }
}

/// Keeps a connection for the next request, if there can be one.
fn give_back(mut link: Box<Link>, place: &Place, usable_until: Option<Duration>) {
    if let Some(until) = usable_until
        && link.rest()
    {
        place.server().pool.put(link, until);
    }
}

impl Answer {
    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(self.handed_on(first))));
        }
        let next = match &mut self.source {
            Source::Over => return Poll::Ready(None),
            Source::Link(link, decoder) => decoder.poll(link, context),
            // Without a last part, the task was ended by something else than its end.
            Source::Task { parts, .. } => parts.poll_recv(context).map(|part| {
                part.unwrap_or_else(|| {
                    Err(AnswerError::Broken(io::Error::from(io::ErrorKind::BrokenPipe).into()))
                })
            }),
        };
        if let Poll::Ready(next) = next {
            self.pauses.moved();
            return Poll::Ready(self.taken(next));
        }
        if let Some(moved) = self.progress.as_ref().map(|progress| progress.moved())
            && moved != self.seen
        {
            self.seen = moved;
            self.pauses.moved();
        }
        self.pauses.poll_too_long(context).map(|()| {
            self.end();
            Some(Err(AnswerError::Idle))
        })
    }

    fn taken(&mut self, next: Result<Part, AnswerError>) -> Option<Result<Frame<Bytes>, AnswerError>> {
        let is_last = next.as_ref().map_or(true, |part| part.is_last);
        if is_last {
            let (source, place) = self.end();
            if let (Ok(_), Source::Link(link, _), Some(place)) = (&next, source, place) {
                give_back(link, &place, self.usable_until);
            }
        }
        match next {
            Ok(part) => part.frame.map(|frame| Ok(self.handed_on(frame))),
            Err(error) => Some(Err(error)),
        }
    }

    fn handed_on(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        self.left = self.left.map(|left| left.saturating_sub(length));
        frame
    }

    fn end(&mut self) -> (Source, Option<Place>) {
        (std::mem::replace(&mut self.source, Source::Over), self.place.take())
    }

    pub(crate) fn is_end(&self) -> bool {
        self.first.is_none() && matches!(self.source, Source::Over)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
