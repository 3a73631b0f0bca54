//! The causes of an error in one line: libraries say "transport error" and keep the reason below.

use std::error::Error;

/// Longest chain that is followed.
const MAX_CAUSES: usize = 16;

/// Every cause, outermost first; what repeats is said once.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    for cause in chain(error) {
        let text = cause.to_string();
        if !text.is_empty() && !said.iter().any(|before| before.contains(&text)) {
            said.push(text);
        }
    }
    said.join(": ")
}

/// True if one of the causes is a `T`.
#[must_use]
pub fn caused_by<T: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(<dyn Error + 'static>::is::<T>)
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |e: &&(dyn Error + 'static)| (*e).source()).take(MAX_CAUSES)
}
