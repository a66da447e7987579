//! Answers that are polled: each carries an `ETag`, and one that costs much is built once for all who ask meanwhile.

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

/// Rows that a list may have before its answers are kept: up to here building one takes a few milliseconds at most.
const CHEAP_ROWS: usize = 5_000;
/// Rows for which an answer is kept one ms: an answer is built in 1/20 of the time it is kept, or less.
const ROWS_PER_MS: usize = 20;
/// Answers kept at most.
const MAX_KEPT: usize = 64;

/// An answer that has just been built.
#[derive(Debug, Default)]
pub struct Built {
    /// The JSON text.
    pub body: Vec<u8>,
    /// So many bytes of it, from the front, decide whether it is another answer than the last: time passes in the rest.
    pub decisive: usize,
    /// How many rows were looked at.
    pub rows: usize,
}

impl Built {
    /// An answer all of which counts.
    ///
    /// # Errors
    /// `Internal` when it cannot be written.
    pub fn of(value: &impl Serialize, rows: usize) -> Result<Self, Refusal> {
        let body = serde_json::to_vec(value).map_err(|_| Refusal::Internal)?;
        Ok(Self { decisive: body.len(), body, rows })
    }
}

#[derive(Clone, Debug)]
struct StoredResponse {
    body: Bytes,
    tag: String,
    until: Instant,
}

type ResponseSlot = Arc<tokio::sync::Mutex<Option<StoredResponse>>>;

/// The answers of the whole server, by path and query.
#[derive(Debug, Default)]
pub struct PolledResponses {
    slots: Mutex<HashMap<String, ResponseSlot>>,
}

impl PolledResponses {
    /// Answers a GET: with what is kept, or with what `build` makes; with 304 to a client that has it.
    ///
    /// # Errors
    /// Those of `build`; `Busy` while too many bytes of large responses wait for their clients.
    pub async fn serve(
        &self,
        req: &HttpRequest,
        build: impl Future<Output = Result<Built, Refusal>>,
    ) -> Result<HttpResponse, Refusal> {
        let slot = self.slot(req.uri().path_and_query().map_or_else(String::new, ToString::to_string));
        // Who asks the same in the meantime waits for the same answer.
        let mut kept = slot.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.until > Instant::now()) {
            return Ok(respond(req.headers(), kept));
        }
        admit(req)?;
        let built = build.await?;
        let broker = req.app_data::<web::Data<BrokerHandle>>();
        broker.map_or(Ok(()), |broker| broker.admit_written(&built.body))?;
        let (decisive, rows, body) = (built.decisive, built.rows, Bytes::from(built.body));
        let fresh = StoredResponse {
            tag: tag(&body[..decisive.min(body.len())]),
            until: Instant::now() + keep_for(rows),
            body: match broker {
                // Counted from here on: it may be kept, and then waits for several clients.
                Some(broker) => broker.responses.share(body),
                None => body,
            },
        };
        let answer = respond(req.headers(), &fresh);
        *kept = (rows > CHEAP_ROWS).then_some(fresh);
        Ok(answer)
    }

    fn slot(&self, key: String) -> ResponseSlot {
        let mut slots = self.locked();
        if slots.len() >= MAX_KEPT && !slots.contains_key(&key) {
            slots.retain(|_, slot| is_wanted(slot));
        }
        slots.entry(key).or_default().clone()
    }

    /// Forgets what is too old to be given to anybody.
    pub fn sweep(&self) {
        self.locked().retain(|_, slot| is_wanted(slot));
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, ResponseSlot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses a request that is answered with much while too much waits for its clients.
///
/// # Errors
/// `Busy`.
pub fn admit(req: &HttpRequest) -> Result<(), Refusal> {
    req.app_data::<web::Data<BrokerHandle>>().map_or(Ok(()), |broker| broker.admit_response())
}

/// Whether somebody builds or waits for the answer, or it is still good.
fn is_wanted(slot: &ResponseSlot) -> bool {
    Arc::strong_count(slot) > 1
        || slot.try_lock().is_ok_and(|kept| kept.as_ref().is_some_and(|kept| kept.until > Instant::now()))
}

fn keep_for(rows: usize) -> Duration {
    if rows > CHEAP_ROWS { Duration::from_millis((rows / ROWS_PER_MS) as u64) } else { Duration::ZERO }
}

fn tag(decisive: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(decisive);
    // Weak: answers with one tag may differ in what does not matter.
    format!("W/\"{:016x}\"", hasher.finish())
}

fn respond(headers: &HeaderMap, kept: &StoredResponse) -> HttpResponse {
    let known = is_known(headers, &kept.tag);
    let mut answer = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header((header::ETAG, kept.tag.as_str()))
        // What an admin sees stays on no disk. A program that wants to save the transfer keeps the tag itself.
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("application/json");
    if known { answer.finish() } else { answer.body(kept.body.clone()) }
}

/// Whether `If-None-Match` names the tag, weakly or not.
pub fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let tag = tag.trim_start_matches("W/");
    headers
        .get_all(header::IF_NONE_MATCH)
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

/// An answer to a command, which nobody keeps.
pub fn done(value: &Value) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::body::MessageBody;
    use actix_web::test::TestRequest;
    use std::cell::Cell;

    async fn ask(
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
    async fn a_tag_names_what_decides() {
        let answers = PolledResponses::default();
        let (status, tag, body) = ask(&answers, "/a", "", "x|1", 1).await;
        assert_eq!((status, body.as_str()), (200, "x|1"));
        assert_eq!(ask(&answers, "/a", &tag, "x|2", 1).await, (304, tag.clone(), String::new()));
        let (status, other, body) = ask(&answers, "/a", &tag, "y|2", 1).await;
        assert_eq!((status, body.as_str()), (200, "y|2"));
        assert_ne!(other, tag);
    }

    #[actix_web::test]
    async fn only_costly_answers_are_kept() {
        let answers = PolledResponses::default();
        assert_eq!(ask(&answers, "/a", "", "first", CHEAP_ROWS).await.2, "first");
        assert_eq!(ask(&answers, "/a", "", "second", 1_000_000).await.2, "second");
        assert_eq!(ask(&answers, "/a", "", "third", 1).await.2, "second");
        assert_eq!(ask(&answers, "/a?page=2", "", "fourth", 1).await.2, "fourth");
        answers.sweep();
        assert_eq!(answers.locked().len(), 1);
    }

    #[actix_web::test]
    async fn who_asks_together_gets_one_answer() {
        let (answers, built) = (PolledResponses::default(), Cell::new(0));
        let ask = || async {
            let request = TestRequest::with_uri("/a").to_http_request();
            let build = async {
                tokio::task::yield_now().await;
                built.set(built.get() + 1);
                Ok(Built { body: b"x".to_vec(), decisive: 1, rows: 1_000_000 })
            };
            answers.serve(&request, build).await.unwrap().status().as_u16()
        };
        let all = futures_util::future::join_all((0..5).map(|_| ask())).await;
        assert_eq!((all, built.get()), (vec![200; 5], 1));
    }

    #[actix_web::test]
    async fn many_questions_are_not_many_answers_kept() {
        let answers = PolledResponses::default();
        for n in 0..1_000 {
            ask(&answers, &format!("/a?{n}"), "", "x", 1).await;
        }
        assert!(answers.locked().len() <= MAX_KEPT);
    }

    #[actix_web::test]
    async fn a_refusal_is_not_kept() {
        let answers = PolledResponses::default();
        let request = TestRequest::with_uri("/a").to_http_request();
        let refused = answers.serve(&request, async { Err(Refusal::Busy) }).await;
        assert_eq!(refused.unwrap_err(), Refusal::Busy);
        assert_eq!(ask(&answers, "/a", "", "x", 1).await.0, 200);
    }
}
