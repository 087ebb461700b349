//! HTTP as a client, bounded in time and bytes.

use std::time::Duration;

use ureq::Agent;

/// A client. It keeps connections open between requests.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    agent: Agent,
}

/// An answer of whatever status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Http {
    /// A client whose every request, from the name's look-up to the last byte, takes at most `timeout`.
    pub(crate) fn new(timeout: Duration) -> Http {
        let config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("govbridge/", env!("CARGO_PKG_VERSION")))
            .build();
        Http { agent: config.new_agent() }
    }

    /// Asks for a resource; the reason in words when there is no answer, or one above `bytes_max`.
    pub(crate) fn read(&self, url: &str, bytes_max: u64) -> Result<Answer, String> {
        can_speak(url)?;
        take(self.agent.get(url).call(), bytes_max)
    }

    /// Sends a text.
    pub(crate) fn send(&self, url: &str, body: &str, bytes_max: u64) -> Result<Answer, String> {
        can_speak(url)?;
        take(self.agent.post(url).content_type("text/plain; charset=utf-8").send(body), bytes_max)
    }
}

/// There is no TLS in this build (docs/decisions/0006-no-tls-for-tiles-and-witnesses.md).
fn can_speak(url: &str) -> Result<(), String> {
    let secure = url.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"));
    if !secure {
        return Ok(());
    }
    Err("its address is https://, and this build speaks no TLS; name the http:// address of a TLS proxy on this machine \
         (docs/decisions/0006-no-tls-for-tiles-and-witnesses.md)"
        .to_owned())
}

fn take(
    outcome: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    bytes_max: u64,
) -> Result<Answer, String> {
    let mut response = outcome.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    // The client's own limit also refuses a body of exactly that length.
    let limit = bytes_max.saturating_add(1);
    let body =
        response.body_mut().with_config().limit(limit).read_to_vec().map_err(|error| error.to_string())?;
    if body.len() as u64 > bytes_max {
        return Err(format!("the answer has more than {bytes_max} bytes"));
    }
    Ok(Answer { status, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_needs_tls_is_refused_before_anything_is_asked_and_the_reason_says_what_to_do() {
        let http = Http::new(Duration::from_secs(60));
        for url in ["https://log.tax.example/checkpoint", "HTTPS://127.0.0.1:1/"] {
            for refused in [http.read(url, 10).unwrap_err(), http.send(url, "text", 10).unwrap_err()] {
                assert!(refused.contains("no TLS") && refused.contains("proxy"), "{refused}");
            }
        }
    }
}
