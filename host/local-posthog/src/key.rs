//! Which project tokens are accepted.

use super::limits::KEY_LIMIT;

/// Checks a project token: no surrounding white space, 1 to [`KEY_LIMIT`] bytes of ASCII, not a personal key. Doesn't
/// check whether the project exists.
pub(super) fn check_key(key: Option<&str>) -> Result<(), &'static str> {
    let Some(key) = key else {
        return Err("`api_key` is missing or not a string");
    };
    if key.trim().is_empty() {
        Err("`api_key` is empty")
    } else if key.trim().len() != key.len() {
        Err("`api_key` has white space around it")
    } else if !key.is_ascii() {
        Err("`api_key` is not ASCII")
    } else if key.len() > KEY_LIMIT {
        Err("`api_key` is over 64 bytes")
    } else if key.starts_with("phx_") {
        Err("`api_key` is a personal key, which is for other parts of the API")
    } else {
        Ok(())
    }
}
