//! Whether a listing is complete, as far as its own counts tell. One that is not may be cut short or put together from
//! two moments: what it lists counts, what it lacks does not.

use std::collections::HashSet;

use crate::genesys::error::PAGES;
use crate::genesys::loose_json::Loose;
use crate::genesys::wire::Entity;

/// What shows that a listing is incomplete.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Incomplete {
    /// `total` is another number than what the pages list together.
    #[error("its total is {said}, but its pages list {listed}")]
    Total {
        /// What it says.
        said: u64,
        /// What its pages list.
        listed: usize,
    },
    /// `pageCount` is another number than that of the pages that there are.
    #[error("it says that it has {said} pages, but {read} could be read")]
    PageCount {
        /// What it says.
        said: u64,
        /// How many were read.
        read: usize,
    },
    /// A page is another one than was asked for.
    #[error("page {asked} was asked for, and page {said} came")]
    PageNumber {
        /// What the page says.
        said: u64,
        /// What it should be.
        asked: usize,
    },
    /// One page of several lists nothing.
    #[error("its page {0} is empty")]
    EmptyPage(usize),
    /// A page lists again what an earlier one listed.
    #[error("its page {0} repeats what an earlier page lists")]
    RepeatedPage(usize),
    /// A count that is not a number.
    #[error("its {0} is not a number that it can have")]
    NotANumber(&'static str),
}

/// What a page says of itself and of the whole, whatever type it comes in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// `pageNumber`.
    pub page_number: Loose,
    /// `pageCount`.
    pub page_count: Loose,
    /// `total`.
    pub total: Loose,
}

impl Counts {
    /// Whether a page follows the page of this number, where the vendor names no address for it. A count that no
    /// listing has is not followed.
    pub fn is_followed(&self, number: usize) -> bool {
        self.page_count.number().is_some_and(|count| count > number as u64 && count <= PAGES as u64)
    }
}

/// The pages that were read so far.
#[derive(Default)]
pub(super) struct Pages {
    counts: Vec<Counts>,
    found: Option<Incomplete>,
}

impl Pages {
    /// Takes a page in; `before` is what the pages before it list.
    pub fn take(&mut self, counts: Counts, entities: &[Entity], before: &[Entity]) {
        let number = self.counts.len().saturating_add(1);
        if let Some(said) = counts.page_number.number().filter(|said| *said != number as u64) {
            self.find(Incomplete::PageNumber { said, asked: number });
        }
        let before: HashSet<&Entity> = before.iter().collect();
        if entities.iter().any(|entity| before.contains(entity)) {
            self.find(Incomplete::RepeatedPage(number));
        } else if number > 1 && (entities.is_empty() || before.is_empty()) {
            self.find(Incomplete::EmptyPage(if entities.is_empty() { number } else { 1 }));
        }
        self.counts.push(counts);
    }

    /// The first sign of incompleteness, now that all pages were read and list so many entities.
    pub fn end(mut self, listed: usize) -> Option<Incomplete> {
        let read = self.counts.len();
        for counts in std::mem::take(&mut self.counts) {
            let fields =
                [("pageNumber", &counts.page_number), ("pageCount", &counts.page_count), ("total", &counts.total)];
            for (name, count) in fields {
                if *count != Loose::Absent && count.number().is_none() {
                    self.find(Incomplete::NotANumber(name));
                }
            }
            if let Some(said) = counts.total.number().filter(|said| *said != listed as u64) {
                self.find(Incomplete::Total { said, listed });
            }
            // Of nothing, there is one page or none.
            let is_none = |said: &u64| *said == 0 && listed == 0;
            if let Some(said) = counts.page_count.number().filter(|said| *said != read as u64 && !is_none(said)) {
                self.find(Incomplete::PageCount { said, read });
            }
        }
        self.found
    }

    fn find(&mut self, what: Incomplete) {
        self.found.get_or_insert(what);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn entity(name: &str) -> Entity {
        Entity { certificate: Some(name.to_owned()), ..Entity::default() }
    }

    fn counts(fields: &str) -> Counts {
        let fields = format!("{{{fields}}}");
        let mut fields: BTreeMap<String, Loose> = serde_json::from_str(&fields).unwrap();
        let mut of = |name: &str| fields.remove(name).unwrap_or_default();
        Counts { page_number: of("pageNumber"), page_count: of("pageCount"), total: of("total") }
    }

    /// Each page: its fields, and what it lists.
    fn sign(pages: &[(&str, &[&str])]) -> Option<Incomplete> {
        let (mut read, mut before) = (Pages::default(), Vec::new());
        for (fields, listed) in pages {
            let listed: Vec<Entity> = listed.iter().map(|name| entity(name)).collect();
            read.take(counts(fields), &listed, &before);
            before.extend(listed);
        }
        read.end(before.len())
    }

    #[test]
    fn counts_that_agree_or_are_missing_are_no_sign() {
        for pages in [
            &[("", &["a"][..])][..],
            &[("", &[])],
            &[(r#""total":0,"pageCount":0,"pageNumber":1"#, &[])],
            &[(r#""total":0,"pageCount":1,"pageNumber":1"#, &[])],
            &[(r#""total":"2","pageCount":"1","pageNumber":"1","pageSize":25"#, &["a", "a"])],
            &[(r#""total":3,"pageCount":2,"pageNumber":1"#, &["a", "b"]), (r#""total":3,"pageNumber":2"#, &["c"])],
        ] {
            assert_eq!(sign(pages), None, "{pages:?}");
        }
    }

    #[test]
    fn each_count_that_contradicts_what_came_is_a_sign() {
        use Incomplete::*;
        let read = 1;
        for (pages, found) in [
            (&[(r#""total":2"#, &["a"][..])][..], Total { said: 2, listed: 1 }),
            (&[(r#""total":1"#, &["a", "b"])], Total { said: 1, listed: 2 }),
            (&[(r#""total":2"#, &["a"]), (r#""total":3"#, &["b"])], Total { said: 3, listed: 2 }),
            (&[(r#""total":-1"#, &["a"])], NotANumber("total")),
            (&[(r#""total":{"a":[1]}"#, &["a"])], NotANumber("total")),
            (&[(r#""pageCount":2"#, &["a"])], PageCount { said: 2, read }),
            (&[(r#""pageCount":0"#, &["a"])], PageCount { said: 0, read }),
            (&[(r#""pageCount":18446744073709551615"#, &["a"])], PageCount { said: u64::MAX, read }),
            (&[(r#""pageCount":1.5"#, &["a"])], NotANumber("pageCount")),
            (&[(r#""pageCount":1"#, &["a"]), ("", &["b"])], PageCount { said: 1, read: 2 }),
            (&[(r#""pageNumber":2"#, &["a"])], PageNumber { said: 2, asked: 1 }),
            (&[("", &["a"]), (r#""pageNumber":1"#, &["b"])], PageNumber { said: 1, asked: 2 }),
            (&[(r#""pageNumber":true"#, &["a"])], NotANumber("pageNumber")),
            (&[("", &["a"]), ("", &[])], EmptyPage(2)),
            (&[("", &[]), ("", &["a"])], EmptyPage(1)),
            (&[("", &["a", "b"]), ("", &["c", "a"])], RepeatedPage(2)),
        ] {
            assert_eq!(sign(pages), Some(found), "{pages:?}");
        }
    }

    #[test]
    fn a_page_that_the_counts_promise_is_asked_for_within_reason() {
        let counts = |count: &str| counts(&format!(r#""pageCount":{count}"#));
        assert!(counts("2").is_followed(1) && counts(r#""2""#).is_followed(1) && counts("20").is_followed(19));
        assert!(!counts("2").is_followed(2) && !counts("21").is_followed(1) && !counts("true").is_followed(1));
    }
}
