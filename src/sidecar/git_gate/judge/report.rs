//! What the person at the other end reads.

use super::Verdict;

/// The most refusals that are told one by one.
const MOST_TOLD: usize = 100;

/// Gives the lines for standard error, which git shows as `remote: ...`: every refusal, its hint and its rule. A hint is
/// given once for each reason, with the last refusal that has it. `ask` is where the agent may ask for what was refused.
pub fn format(verdict: &Verdict, ask: Option<&str>) -> Vec<String> {
    let mut lines = Vec::new();
    let (told, rest) = verdict.refusals.split_at(verdict.refusals.len().min(MOST_TOLD));
    for (at, refusal) in told.iter().enumerate() {
        let reason = refusal.reason;
        lines.push(format!("bottle: refused {}: {reason}: {}", refusal.subject, refusal.detail));
        if let Some(rule) = &refusal.rule {
            lines.push(format!("  rule: {rule}"));
        }
        if let (Some(url), Some(ask)) = (ask, &refusal.ask) {
            // Text and numbers always have a JSON form.
            let text = serde_json::json!({ "ask": ask, "reason": "…" });
            let line = format!("  ask: POST {url}/requests {text} (MCP tool {})", ask.tool());
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        let said_later = told.iter().skip(at + 1).any(|other| other.reason == reason);
        if !said_later {
            lines.push(format!("  hint: {}", reason.hint()));
        }
    }
    if !rest.is_empty() {
        lines.push(format!("bottle: and {} more refusals", rest.len()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::{Refusal, Verdict};
    use super::format;
    use crate::policy::ask::{Ask, ExceptionAsk};
    use crate::policy::reason::Reason;

    #[test]
    fn every_refusal_is_told_and_every_hint_once() {
        let refusal = |reason, subject: &str| Refusal {
            reason,
            subject: subject.into(),
            detail: "why".into(),
            rule: Some("bottle.yaml:7".into()),
            ask: None,
        };
        let refusals = vec![
            refusal(Reason::RefDenied, "refs/heads/a"),
            refusal(Reason::DefaultBranch, "refs/heads/main"),
            refusal(Reason::RefDenied, "refs/heads/b"),
        ];
        let lines = format(&Verdict { refusals, ..Verdict::default() }, None);
        assert_eq!(lines[0], "bottle: refused refs/heads/a: ref-denied: why");
        assert_eq!(lines[1], "  rule: bottle.yaml:7");
        assert_eq!(lines.iter().filter(|line| line.starts_with("  hint: ")).count(), 2);
        assert!(lines.last().unwrap().starts_with("  hint: add a rule"));
    }
    #[test]
    fn what_to_ask_is_told_only_where_somebody_listens_and_once() {
        let ask = Ask::Exception(ExceptionAsk {
            repository: Some("app".into()),
            host: None,
            finding: "f-0123".into(),
        });
        let refusal = |subject: &str| Refusal {
            reason: Reason::SecretFound,
            subject: subject.into(),
            detail: "why".into(),
            rule: None,
            ask: Some(ask.clone()),
        };
        let verdict = Verdict { refusals: vec![refusal("a"), refusal("b")], ..Verdict::default() };
        assert!(!format(&verdict, None).iter().any(|line| line.contains("ask: ")));
        let lines = format(&verdict, Some("http://supervise:7331"));
        let asks: Vec<_> = lines.iter().filter(|line| line.starts_with("  ask: ")).collect();
        assert_eq!(
            asks,
            [
                r#"  ask: POST http://supervise:7331/requests {"ask":{"exception":{"repository":"app","finding":"f-0123"}},"reason":"…"} (MCP tool request_exception)"#
            ]
        );
    }
}
