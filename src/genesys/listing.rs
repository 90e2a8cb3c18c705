//! The listing of certificates: read whole, page by page, or refused whole (the vendor's page on mTLS data actions;
//! paging as in the vendor's SDKs). Its entities are not judged here.

use std::collections::BTreeSet;
use std::fmt;

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use tokio::time::Instant;
use url::Url;

use crate::genesys::attempts::Attempts;
pub use crate::genesys::completeness::Incomplete;
use crate::genesys::completeness::{Counts, Pages};
use crate::genesys::error::{BadAnswer, FetchError, Refusal};
pub use crate::genesys::error::{ENTITIES, PAGES};
use crate::genesys::exchange::Exchange;
use crate::genesys::loose_json::{Loose, json_trouble};
use crate::genesys::oauth::authorization;
use crate::genesys::wire::Entity;
use crate::http_client::shown;
use crate::settings::resolved::Secret;
use crate::trust::formats::pem;
use crate::trust::values::timestamp::Timestamp;

/// The bytes of one listing, over all its pages.
pub const LISTING_BYTES: usize = 4 * 1024 * 1024;

/// One listing, every page that it named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Its entities, in the order of its pages, unjudged.
    pub entities: Vec<Entity>,
    /// The `Date` of each of its pages.
    pub dates: Vec<Option<Timestamp>>,
    /// What shows that entities are missing, if anything does.
    pub incomplete: Option<Incomplete>,
}

/// Which listing is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// None: everything, if the vendor really lists everything.
    Unfiltered,
    /// `status=Upcoming`.
    Upcoming,
}

impl Filter {
    fn pair(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Unfiltered => None,
            Self::Upcoming => Some(("status", "Upcoming")),
        }
    }
}

/// Where a listing is.
pub(super) struct Place<'a> {
    pub url: &'a Url,
    /// Its path as the vendor knows it, where `api` puts another before it.
    pub path: &'a str,
}

/// Asks for every page of a listing.
// Long because the pages are one loop, and each reason to refuse one stands in it.
pub(super) async fn read(
    exchange: &Exchange<'_>,
    place: &Place<'_>,
    filter: Filter,
    token: &Secret,
    source: &str,
    ends: Instant,
) -> Result<Listing, FetchError> {
    let mut listing = Listing::default();
    let mut pages = Pages::default();
    let mut used = 0_usize;
    let mut asked = BTreeSet::new();
    let mut query = String::new();
    for number in 1..=PAGES {
        let url = page_url(place.url, &query, filter);
        let name = exchange.scrub.clean(&shown_request(&url));
        let fail = |failure: BadAnswer| FetchError::new(name.clone(), failure.into());
        if !asked.insert(url.query().unwrap_or_default().to_owned()) {
            return Err(fail(BadAnswer::PagingLoop(number)));
        }
        let bearer = authorization("Bearer", token).map_err(fail)?;
        let mut attempts = Attempts::until(ends, source);
        let answer = loop {
            let request = exchange
                .http
                .get(url.clone())
                .header(AUTHORIZATION, bearer.clone())
                .header(ACCEPT, "application/json")
                .header(CACHE_CONTROL, "no-cache");
            let asked = match exchange.ask(request, &name, &url, (used, LISTING_BYTES), ends).await {
                Ok(answer) if answer.status == StatusCode::OK => Ok(answer),
                Ok(answer) => Err(exchange.refusal(&answer, &name, |said| match said.status {
                    401 => Some(Refusal::TokenRefused),
                    403 => Some(Refusal::Forbidden),
                    _ => None,
                })),
                Err(error) => Err(error),
            };
            match asked {
                Ok(answer) => break answer,
                Err(error) => attempts.pause_after(error).await?,
            }
        };
        let correlation = answer.correlation(exchange.scrub);
        let refuse = |failure| FetchError { correlation: correlation.clone(), ..fail(failure) };
        if answer.is_html() {
            return Err(refuse(BadAnswer::Html));
        }
        let mut page = read_page(&answer.body, place.url, place.path, number)
            .map_err(|failure| refuse(clean_target(failure, exchange)))?;
        for entity in &mut page.entities {
            withhold(entity, exchange);
            // Of megabytes, that takes long enough to be felt by probes.
            tokio::task::yield_now().await;
        }
        used = used.saturating_add(answer.body.len());
        pages.take(page.counts, &page.entities, &listing.entities);
        listing.entities.extend(page.entities);
        if listing.entities.len() > ENTITIES {
            return Err(refuse(BadAnswer::TooManyEntities));
        }
        listing.dates.push(answer.date());
        match page.next {
            Some(next) => query = next,
            None if listing.entities.is_empty() && filter == Filter::Unfiltered => {
                return Err(refuse(BadAnswer::Empty));
            }
            None => {
                listing.incomplete = pages.end(listing.entities.len());
                return Ok(listing);
            }
        }
    }
    let name = exchange.scrub.clean(&format!("GET {}", page_url(place.url, "", filter)));
    Err(FetchError::new(name, BadAnswer::TooManyPages.into()))
}

/// One page of a listing, unjudged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadPage {
    /// Its entities; of more than [`ENTITIES`], one more.
    pub entities: Vec<Entity>,
    /// The query of the next page, where there is one.
    pub next: Option<String>,
    counts: Counts,
}

/// Reads the body of page `number` of the listing at `url`, whose path the vendor knows as `path`.
pub fn read_page(body: &[u8], url: &Url, path: &str, number: usize) -> Result<ReadPage, BadAnswer> {
    let page: Page = serde_json::from_slice(body).map_err(|error| BadAnswer::NotJson(json_trouble(&error)))?;
    let counts = Counts { page_number: page.page_number, page_count: page.page_count, total: page.total };
    let next = next_page(&page.next_uri, &counts, url, path, number)?;
    let Entities(entities) = page.entities.ok_or(BadAnswer::NoEntities)?;
    Ok(ReadPage { entities, next, counts })
}

/// Always our own URL, of the vendor's words the query alone, and never without the filter.
fn page_url(base: &Url, query: &str, filter: Filter) -> Url {
    let mut url = base.clone();
    url.set_query((!query.is_empty()).then_some(query));
    if let Some((key, value)) = filter.pair()
        && !url.query_pairs().any(|(name, _)| name == key)
    {
        url.query_pairs_mut().append_pair(key, value);
    }
    url
}

/// Of a query, which may be the vendor's words, only what we know is shown.
fn shown_request(url: &Url) -> String {
    let known: Vec<String> = url
        .query_pairs()
        .filter(|(key, value)| {
            (key == "status" && value == "Upcoming")
                || (key == "pageNumber" && value.len() <= 20 && value.bytes().all(|byte| byte.is_ascii_digit()))
        })
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let query = if known.is_empty() { String::new() } else { format!("?{}", known.join("&")) };
    format!("GET {}{}{query}", shown(url), url.path())
}

fn clean_target(failure: BadAnswer, exchange: &Exchange<'_>) -> BadAnswer {
    match failure {
        BadAnswer::NextElsewhere(target) => BadAnswer::NextElsewhere(exchange.scrub.clean(&target)),
        other => other,
    }
}

/// Of a string of more PEM blocks, which is refused, none is shown.
const MOST_BLOCKS: usize = 64;
/// As far as a label goes behind its BEGIN.
const LABEL: usize = 64;
/// The words that an entity's fields are known to have.
const KNOWN_WORDS: [&str; 5] = ["DigiCert", "Genesys", "Current", "Upcoming", "Client"];

/// What of an entity is not known or refused is shown: so none of it may be a credential that was echoed.
fn withhold(entity: &mut Entity, exchange: &Exchange<'_>) {
    for text in [&mut entity.signing_authority, &mut entity.status, &mut entity.kind].into_iter().flatten() {
        if !KNOWN_WORDS.iter().any(|known| known.eq_ignore_ascii_case(text)) {
            *text = exchange.scrub.clean(text);
        }
    }
    entity.certificate.take_if(|text| is_echo(text, exchange));
}

/// Whether a certificate's string holds a secret in what may be shown of it: labels and names. Its base64 is not, and has
/// much in it by chance.
fn is_echo(text: &str, exchange: &Exchange<'_>) -> bool {
    let holds = |text: &[u8]| exchange.scrub.is_in(text);
    let is_in_label = |after: &str| holds(after.as_bytes().get(..LABEL).unwrap_or(after.as_bytes()));
    let is_in_content = |block: &pem::Block| block.bytes.as_ref().is_ok_and(|content| holds(content));
    pem::count(text) <= MOST_BLOCKS
        && (text.split("-----BEGIN").skip(1).any(is_in_label) || pem::scan(text).iter().any(is_in_content))
}

/// One page. Strict on what trust depends on; the numbers are a courtesy, whatever type they come in.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    entities: Option<Entities>,
    #[serde(default)]
    page_number: Loose,
    #[serde(default)]
    page_count: Loose,
    #[serde(default)]
    total: Loose,
    #[serde(default)]
    next_uri: Loose,
}

/// The query of the next page: that of `nextUri`, which must lead to the same place, else the next number.
fn next_page(
    next_uri: &Loose,
    counts: &Counts,
    url: &Url,
    path: &str,
    read: usize,
) -> Result<Option<String>, BadAnswer> {
    match next_uri {
        Loose::Text(next) if !next.trim().is_empty() => {
            let Ok(next) = url.join(next.trim()) else {
                return Err(BadAnswer::NextElsewhere("an address that is not a URL".into()));
            };
            let same_server = next.scheme() == url.scheme()
                && next.host() == url.host()
                && next.port_or_known_default() == url.port_or_known_default()
                && next.username().is_empty()
                && next.password().is_none();
            if !same_server || (next.path() != url.path() && next.path() != path) {
                return Err(BadAnswer::NextElsewhere(format!("{}{}", shown(&next), next.path())));
            }
            Ok(Some(next.query().unwrap_or_default().to_owned()))
        }
        Loose::Text(_) | Loose::Absent => {
            Ok(counts.is_followed(read).then(|| format!("pageNumber={}", read.saturating_add(1))))
        }
        Loose::Number(_) | Loose::Other => Err(BadAnswer::NotJson("its nextUri is not a text".into())),
    }
}

/// The entities of a page, of which no more are kept than one too many: a page of four million bytes holds a million
/// `{}`.
struct Entities(Vec<Entity>);

impl<'de> Deserialize<'de> for Entities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded;
        impl<'de> Visitor<'de> for Bounded {
            type Value = Entities;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of entities")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Entities, A::Error> {
                let mut entities = Vec::new();
                while entities.len() <= ENTITIES {
                    match items.next_element()? {
                        Some(entity) => entities.push(entity),
                        None => return Ok(Entities(entities)),
                    }
                }
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Entities(entities))
            }
        }
        deserializer.deserialize_seq(Bounded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(next_uri: &str) -> Result<Option<String>, BadAnswer> {
        let url: Url = "https://api.example/base/api/v2/certificates".parse().unwrap();
        let body = format!(r#"{{"entities":[],"nextUri":{next_uri}}}"#);
        read_page(body.as_bytes(), &url, "/api/v2/certificates", 1).map(|page| page.next)
    }

    #[test]
    fn the_next_page_is_asked_at_the_same_place_only() {
        for (same, query) in [
            (r#""/api/v2/certificates?pageNumber=2""#, Some("pageNumber=2")),
            (r#""/base/api/v2/certificates?pageNumber=2""#, Some("pageNumber=2")),
            (r#""https://API.example:443/api/v2/certificates?pageNumber=2#x""#, Some("pageNumber=2")),
            (r#""?pageNumber=2""#, Some("pageNumber=2")),
            (r#""""#, None),
            ("null", None),
        ] {
            assert_eq!(next(same), Ok(query.map(str::to_owned)), "{same}");
        }
        for elsewhere in [
            r#""https://evil.example/api/v2/certificates""#,
            r#""//evil.example/api/v2/certificates""#,
            r#""\\\\evil.example/api/v2/certificates""#,
            r#""http://api.example/api/v2/certificates""#,
            r#""https://api.example:444/api/v2/certificates""#,
            r#""https://api.example@evil.example/api/v2/certificates""#,
            r#""https://x:y@api.example/api/v2/certificates""#,
            r#""https://api.example/api/v2/other""#,
            r#""/api/v2/certificates/../other""#,
            r#""https://""#,
        ] {
            assert!(matches!(next(elsewhere), Err(BadAnswer::NextElsewhere(_))), "{elsewhere}");
        }
        assert!(matches!(next("7"), Err(BadAnswer::NotJson(_))));
    }

    #[test]
    fn the_numbers_of_a_page_may_come_as_anything() {
        for (fields, query) in [
            (r#""pageNumber":1,"pageCount":2"#, Some("pageNumber=2")),
            (r#""pageNumber":"1","pageCount":"2""#, Some("pageNumber=2")),
            (r#""pageCount":2"#, Some("pageNumber=2")),
            (r#""pageNumber":1,"pageCount":1"#, None),
            (r#""pageNumber":{"a":[1,{}]},"pageCount":[2],"total":-1"#, None),
            (r#""total":1e400"#, None),
            (r#""pageCount":true,"total":1.5,"unknown":{"unknown":1}"#, None),
        ] {
            let text = format!(r#"{{"entities":[],{fields}}}"#);
            let url: Url = "https://api.example/".parse().unwrap();
            let Ok(page) = read_page(text.as_bytes(), &url, "/", 1) else {
                assert!(fields.contains("1e400"), "{fields}");
                continue;
            };
            assert_eq!(page.next, query.map(str::to_owned), "{fields}");
        }
    }

    #[test]
    fn a_million_empty_entities_are_counted_but_not_kept() {
        let text = format!(r#"{{"entities":[{}{{}}]}}"#, "{},".repeat(1_000_000));
        let page: Page = serde_json::from_str(&text).unwrap();
        assert_eq!(page.entities.unwrap().0.len(), ENTITIES + 1);
    }

    #[test]
    fn the_upcoming_filter_is_never_lost_on_the_way() {
        let base: Url = "https://api.example/certificates".parse().unwrap();
        assert_eq!(page_url(&base, "", Filter::Unfiltered).as_str(), "https://api.example/certificates");
        for query in ["", "status=Upcoming"] {
            assert_eq!(page_url(&base, query, Filter::Upcoming).query(), Some("status=Upcoming"));
        }
        assert_eq!(page_url(&base, "pageNumber=2", Filter::Upcoming).query(), Some("pageNumber=2&status=Upcoming"));
    }
}
