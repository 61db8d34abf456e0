//! One scrape of `/metrics`, and the numbers in it. Prometheus text format 0.0.4.

use std::net::SocketAddr;

use super::http;

/// What one scrape said.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// The body as it came.
    pub(crate) text: String,
}

impl Metrics {
    /// `GET /metrics`.
    pub(crate) fn scrape(address: SocketAddr) -> Self {
        let answer = http::get(address, "/metrics");
        assert_eq!(answer.status, 200, "{}", answer.head);
        Self { text: answer.body }
    }

    /// The sum of all samples of a metric whose labels include these.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples(name, labels).iter().sum()
    }

    /// Whether any sample of a metric is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        !self.samples(name, &[]).is_empty()
    }

    fn samples(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let lines = self.text.lines().filter(|line| !line.starts_with('#'));
        let parts = lines.filter_map(|line| line.rsplit_once(' '));
        let fits = |series: &str| {
            let (own, rest) = series.split_once('{').unwrap_or((series, ""));
            own == name && labels.iter().all(|(key, value)| rest.contains(&format!("{key}=\"{value}\"")))
        };
        parts.filter(|(series, _)| fits(series)).filter_map(|(_, value)| value.parse().ok()).collect()
    }
}
