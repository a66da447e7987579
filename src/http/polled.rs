//! Answers to polling clients: each has an `ETag`, and an expensive answer is built once for all requests that arrive
//! while it is valid.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::broker::handle::BrokerHandle;
use crate::http_error::Refusal;

/// Answers with more rows are cached: building one with fewer rows takes a few milliseconds at most.
const CHEAP_ROWS: usize = 5_000;
/// An answer is cached for 1 ms per this many rows, so that building it takes 1/20 of the time that it is cached, or less.
const ROWS_PER_MS: usize = 20;
/// The most cached answers.
const MAX_CACHED: usize = 64;

/// An answer that has just been built.
#[derive(Debug, Default)]
pub struct Built {
    /// The JSON text.
    pub body: Vec<u8>,
    /// The `ETag` is computed from this many bytes at the start: values after them change with time alone.
    pub decisive: usize,
    /// The number of rows that were read for it.
    pub rows: usize,
}

impl Built {
    /// An answer whose `ETag` covers all of it.
    ///
    /// # Errors
    /// `Internal` if it cannot be serialized.
    pub fn of(value: &impl Serialize, rows: usize) -> Result<Self, Refusal> {
        let body = serde_json::to_vec(value).map_err(|_| Refusal::Internal)?;
        Ok(Self { decisive: body.len(), body, rows })
    }
}

#[derive(Clone, Debug)]
struct StoredResponse {
    body: Bytes,
    tag: String,
    valid_until: Instant,
}

type ResponseSlot = Arc<tokio::sync::Mutex<Option<StoredResponse>>>;

/// The cached answers of the whole server, by path and query.
#[derive(Debug, Default)]
pub struct PolledResponses {
    slots: Mutex<HashMap<String, ResponseSlot>>,
}

impl PolledResponses {
    /// Answers a GET with the cached answer or the result of `build`, or with 304 if the client already has it.
    ///
    /// # Errors
    /// The errors of `build`; `Busy` while too many bytes of large responses wait for their clients.
    pub async fn serve(
        &self,
        req: &HttpRequest,
        build: impl Future<Output = Result<Built, Refusal>>,
    ) -> Result<HttpResponse, Refusal> {
        let slot = self.slot(req.uri().path_and_query().map_or_else(String::new, ToString::to_string));
        // Equal requests in the meantime wait for the same answer.
        let mut cached = slot.lock().await;
        if let Some(cached) = cached.as_ref().filter(|cached| cached.valid_until > Instant::now()) {
            return Ok(respond(req.headers(), cached));
        }
        admit(req)?;
        let built = build.await?;
        let broker = req.app_data::<web::Data<BrokerHandle>>();
        broker.map_or(Ok(()), |broker| broker.admit_written(&built.body))?;
        let (decisive, rows, body) = (built.decisive, built.rows, Bytes::from(built.body));
        let fresh = StoredResponse {
            tag: tag(&body[..decisive.min(body.len())]),
            valid_until: Instant::now() + time_to_live(rows),
            body: match broker {
                // Counted from here on: a cached answer can wait for several clients.
                Some(broker) => broker.responses.share(body),
                None => body,
            },
        };
        let answer = respond(req.headers(), &fresh);
        *cached = (rows > CHEAP_ROWS).then_some(fresh);
        Ok(answer)
    }

    fn slot(&self, key: String) -> ResponseSlot {
        let mut slots = self.locked();
        if slots.len() >= MAX_CACHED && !slots.contains_key(&key) {
            slots.retain(|_, slot| is_in_use(slot));
        }
        slots.entry(key).or_default().clone()
    }

    /// Removes expired answers.
    pub fn sweep(&self) {
        self.locked().retain(|_, slot| is_in_use(slot));
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, ResponseSlot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses a request with a large answer while too many bytes of large responses wait for their clients.
///
/// # Errors
/// `Busy`.
pub fn admit(req: &HttpRequest) -> Result<(), Refusal> {
    req.app_data::<web::Data<BrokerHandle>>().map_or(Ok(()), |broker| broker.admit_response())
}

/// Whether a request builds the answer or waits for it, or the answer is still valid.
fn is_in_use(slot: &ResponseSlot) -> bool {
    Arc::strong_count(slot) > 1
        || slot
            .try_lock()
            .is_ok_and(|cached| cached.as_ref().is_some_and(|cached| cached.valid_until > Instant::now()))
}

fn time_to_live(rows: usize) -> Duration {
    if rows > CHEAP_ROWS { Duration::from_millis((rows / ROWS_PER_MS) as u64) } else { Duration::ZERO }
}

fn tag(decisive: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(decisive);
    // Weak: answers with the same tag may differ in the bytes that it does not cover.
    format!("W/\"{:016x}\"", hasher.finish())
}

fn respond(headers: &HeaderMap, cached: &StoredResponse) -> HttpResponse {
    let known = is_known(headers, &cached.tag);
    let mut answer = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header((header::ETAG, cached.tag.as_str()))
        // Data for an admin must not be stored on a disk. A program that wants to avoid transfers stores the tag itself.
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("application/json");
    if known { answer.finish() } else { answer.body(cached.body.clone()) }
}

/// Whether `If-None-Match` contains the tag, as a weak or a strong one.
pub fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let tag = tag.trim_start_matches("W/");
    headers
        .get_all(header::IF_NONE_MATCH)
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

/// An answer to a command, which is not cached.
pub fn done(value: &Value) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::body::MessageBody;
    use actix_web::test::TestRequest;
    use std::cell::Cell;

    async fn get(
        answers: &PolledResponses,
        query: &str,
        known: &str,
        body: &str,
        rows: usize,
    ) -> (u16, String, String) {
        let request = TestRequest::with_uri(query).insert_header(("if-none-match", known)).to_http_request();
        let built =
            async { Ok(Built { body: body.into(), decisive: body.find('|').unwrap_or(body.len()), rows }) };
        let answer = answers.serve(&request, built).await.unwrap();
        let tag = answer.headers().get("etag").unwrap().to_str().unwrap().to_owned();
        let status = answer.status().as_u16();
        let body = answer.into_body().try_into_bytes().unwrap();
        (status, tag, String::from_utf8(body.to_vec()).unwrap())
    }

    #[actix_web::test]
    async fn a_tag_covers_the_decisive_bytes_only() {
        let answers = PolledResponses::default();
        let (status, tag, body) = get(&answers, "/a", "", "x|1", 1).await;
        assert_eq!((status, body.as_str()), (200, "x|1"));
        assert_eq!(get(&answers, "/a", &tag, "x|2", 1).await, (304, tag.clone(), String::new()));
        let (status, other, body) = get(&answers, "/a", &tag, "y|2", 1).await;
        assert_eq!((status, body.as_str()), (200, "y|2"));
        assert_ne!(other, tag);
    }

    #[actix_web::test]
    async fn only_expensive_answers_are_cached() {
        let answers = PolledResponses::default();
        assert_eq!(get(&answers, "/a", "", "first", CHEAP_ROWS).await.2, "first");
        assert_eq!(get(&answers, "/a", "", "second", 1_000_000).await.2, "second");
        assert_eq!(get(&answers, "/a", "", "third", 1).await.2, "second");
        assert_eq!(get(&answers, "/a?page=2", "", "fourth", 1).await.2, "fourth");
        answers.sweep();
        assert_eq!(answers.locked().len(), 1);
    }

    #[actix_web::test]
    async fn simultaneous_requests_share_one_answer() {
        let (answers, built) = (PolledResponses::default(), Cell::new(0));
        let get = || async {
            let request = TestRequest::with_uri("/a").to_http_request();
            let build = async {
                tokio::task::yield_now().await;
                built.set(built.get() + 1);
                Ok(Built { body: b"x".to_vec(), decisive: 1, rows: 1_000_000 })
            };
            answers.serve(&request, build).await.unwrap().status().as_u16()
        };
        let all = futures_util::future::join_all((0..5).map(|_| get())).await;
        assert_eq!((all, built.get()), (vec![200; 5], 1));
    }

    #[actix_web::test]
    async fn the_number_of_cached_answers_is_limited() {
        let answers = PolledResponses::default();
        for n in 0..1_000 {
            get(&answers, &format!("/a?{n}"), "", "x", 1).await;
        }
        assert!(answers.locked().len() <= MAX_CACHED);
    }

    #[actix_web::test]
    async fn a_refusal_is_not_cached() {
        let answers = PolledResponses::default();
        let request = TestRequest::with_uri("/a").to_http_request();
        let refused = answers.serve(&request, async { Err(Refusal::Busy) }).await;
        assert_eq!(refused.unwrap_err(), Refusal::Busy);
        assert_eq!(get(&answers, "/a", "", "x", 1).await.0, 200);
    }
}
