//! `drive health`.

use serde_json::{Value, json};

use crate::{
    cli::{
        bench::Bench,
        devices::drive::{advice, failed, look, print_json},
        exit::Exit,
        fail::Failure,
        say,
    },
    drive::{
        Alert, Cleaning, DeviceStatistics, ErrorCounters, Health, Identity, Severity,
        VolumeStatistics, per_terabyte,
    },
    report::Sheet,
    unit::{ByteCount, Count},
};

/// Something that the operator should know of a drive.
struct Finding {
    grade: Grade,
    /// The TapeAlert flag that says so, if one does.
    alert: Option<Alert>,
    what: String,
    advice: &'static str,
}

/// How grave a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    Critical,
    Warning,
    Unrated,
    Information,
}

impl Grade {
    fn of(severity: Severity) -> Self {
        match severity {
            Severity::Critical => Self::Critical,
            Severity::Warning => Self::Warning,
            Severity::Unrated => Self::Unrated,
            Severity::Information => Self::Information,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Unrated => "unrated",
            Self::Information => "information",
        }
    }
}

/// Says how a drive is. Exit code 1 when something is to be done.
pub(super) fn run(bench: &Bench, name: Option<&str>) -> Result<Exit, Failure> {
    let (name, mut drive) = look(bench, name)?;
    let health = drive.health().map_err(failed(&name))?;
    let findings = findings(&health);
    let sheet = sheet(&health);
    if bench.json {
        let mut facts = sheet.value();
        facts.insert("findings".into(), findings.iter().map(value_of).collect());
        facts.insert("alerts".into(), alerts(&health));
        print_json("drive-health", &name, facts);
    } else {
        say::text(&verdict(&name, drive.identity(), &health, &findings));
        say::text(&format!("\n{sheet}"));
    }
    let to_do = findings.iter().any(|finding| finding.grade < Grade::Information);
    Ok(if to_do { Exit::Findings } else { Exit::Done })
}

/// What there is to know, the gravest first.
fn findings(health: &Health) -> Vec<Finding> {
    let raised = health.alerts.into_iter().flat_map(|alerts| alerts.iter().collect::<Vec<_>>());
    let mut findings: Vec<Finding> = raised
        .map(|alert| Finding {
            grade: Grade::of(alert.severity()),
            alert: Some(alert),
            what: alert.name().to_owned(),
            advice: advice::of(alert),
        })
        .collect();
    let says_so = findings.iter().any(|finding| finding.advice == advice::CLEAN);
    let cleaning = match health.cleaning {
        Cleaning::Required => Some((Grade::Critical, "it has to be cleaned now")),
        Cleaning::Requested => Some((Grade::Warning, "it asks to be cleaned")),
        Cleaning::NotTold | Cleaning::NotDue => None,
    };
    if let Some((grade, what)) = cleaning.filter(|_| !says_so) {
        let (what, advice) = (what.to_owned(), advice::CLEAN);
        findings.push(Finding { grade, alert: None, what, advice });
    }
    for (counters, doing) in [(&health.writing, "writing"), (&health.reading, "reading")] {
        let uncorrected = counters.as_ref().and_then(|counters| counters.uncorrected);
        if let Some(count @ 1..) = uncorrected {
            findings.push(Finding {
                grade: Grade::Information,
                alert: None,
                what: format!("{} errors while {doing} were not corrected", Count(count)),
                advice: advice::UNCORRECTED,
            });
        }
    }
    findings.sort_by_key(|finding| finding.grade);
    findings
}

fn verdict(name: &str, identity: &Identity, health: &Health, findings: &[Finding]) -> String {
    let mut text = format!(
        "{name}: {} {}, firmware {}, serial {}\n\n",
        identity.vendor, identity.product, identity.revision, identity.serial
    );
    if findings.is_empty() {
        text.push_str("nothing to do: no alert is raised, and no cleaning is due\n");
    }
    for finding in findings {
        let grade = finding.grade.name();
        let alert = finding.alert.map(|alert| format!("TapeAlert {}: ", alert.number()));
        text.push_str(&format!(
            "{grade:<11}  {}{}\n             → {}\n",
            alert.unwrap_or_default(),
            finding.what,
            finding.advice
        ));
    }
    if health.alerts.is_none() {
        text.push_str("the drive has no TapeAlert page: what it does not say is not known\n");
    }
    if health.alerts_cleared {
        text.push_str("this drive forgets its alerts when they are read: note them\n");
    }
    text
}

fn value_of(finding: &Finding) -> Value {
    json!({
        "severity": finding.grade.name(),
        "alert": finding.alert.map(Alert::number),
        "what": finding.what,
        "advice": finding.advice,
    })
}

fn alerts(health: &Health) -> Value {
    let Some(alerts) = health.alerts else { return Value::Null };
    alerts
        .iter()
        .map(|alert| {
            let severity = Grade::of(alert.severity()).name();
            json!({ "number": alert.number(), "name": alert.name(), "severity": severity })
        })
        .collect()
}

fn cleaning_words(cleaning: Cleaning) -> Option<&'static str> {
    match cleaning {
        Cleaning::NotTold => None,
        Cleaning::NotDue => Some("not due"),
        Cleaning::Requested => Some("asked for"),
        Cleaning::Required => Some("needed now"),
    }
}

fn cleaning_key(cleaning: Cleaning) -> Option<&'static str> {
    match cleaning {
        Cleaning::NotTold => None,
        Cleaning::NotDue => Some("not-due"),
        Cleaning::Requested => Some("requested"),
        Cleaning::Required => Some("required"),
    }
}

fn sheet(health: &Health) -> Sheet {
    let mut sheet = Sheet::new();
    sheet.section("writing", "writing, since the drive last reset its counters", "not told");
    about_errors(&mut sheet, &health.writing.unwrap_or_default());
    let ratio = health.write_compression;
    sheet.maybe(("compression-percent", "compressed, this load"), ratio, |ratio| {
        format!("{}.{:02} to 1", ratio / 100, ratio % 100)
    });
    sheet.section("reading", "reading, likewise", "not told");
    about_errors(&mut sheet, &health.reading.unwrap_or_default());
    sheet.section("life", "the drive's life", "not told");
    about_life(&mut sheet, &health.device.unwrap_or_default());
    let words = cleaning_words(health.cleaning).unwrap_or_default();
    sheet.maybe(("cleaning", "cleaning"), cleaning_key(health.cleaning), |_| words.to_owned());
    // No log page of the standards counts them, and none of the vendors' that is documented.
    sheet.fact(("back-hitches", "back-hitches"), "absent: no log page counts them", Value::Null);
    if let Some(volume) = &health.volume {
        sheet.section("cartridge", "the life of the cartridge in it", "not told");
        about_volume(&mut sheet, volume);
    }
    sheet
}

fn about_errors(sheet: &mut Sheet, counters: &ErrorCounters) {
    sheet.maybe(("bytes", "data"), counters.bytes, |bytes| ByteCount(bytes).to_string());
    sheet.maybe(("corrected", "errors corrected"), counters.corrected, |count| {
        with_rate(count, counters.corrected_per_terabyte())
    });
    sheet.maybe(("uncorrected", "errors not corrected"), counters.uncorrected, |count| {
        with_rate(count, counters.uncorrected_per_terabyte())
    });
    let rates = [counters.corrected_per_terabyte(), counters.uncorrected_per_terabyte()];
    sheet.aside("corrected-per-terabyte", rates[0]);
    sheet.aside("uncorrected-per-terabyte", rates[1]);
    sheet.maybe(("repeated", "done again"), counters.repeated, |count| Count(count).to_string());
}

/// A count, and how many of them each TB has.
fn with_rate(count: u64, rate: Option<f64>) -> String {
    match rate {
        Some(rate) if count > 0 => format!("{}, {} per TB", Count(count), rounded(rate)),
        Some(_) | None => Count(count).to_string(),
    }
}

/// A rate to about three digits.
fn rounded(rate: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is not negative, and one beyond 64 bits is wrong in any case"
    )]
    match rate {
        100.0.. => Count(rate.round() as u64).to_string(),
        10.0..100.0 => format!("{rate:.1}"),
        _ if rate > 0.0 => format!("{rate:.2}"),
        _ => "0".to_owned(),
    }
}

fn about_life(sheet: &mut Sheet, device: &DeviceStatistics) {
    let hours = |count: u64| format!("{} h", Count(count));
    let count = |count: u64| Count(count).to_string();
    sheet.maybe(("loads", "loads"), device.loads, count);
    sheet.maybe(("power-on-hours", "with power"), device.power_on_hours, hours);
    sheet.maybe(("power-cycles", "powered on"), device.power_cycles, times);
    sheet.maybe(("motion-hours", "tape in motion"), device.motion_hours, hours);
    sheet.maybe(("metres", "tape over the head"), device.metres, |metres| {
        if metres < 10_000 {
            format!("{} m", Count(metres))
        } else {
            format!("{} km", Count(metres / 1000))
        }
    });
    sheet.maybe(("hard-write-errors", "hard write errors"), device.hard_write_errors, count);
    sheet.maybe(("hard-read-errors", "hard read errors"), device.hard_read_errors, count);
    sheet.maybe(("cleanings", "cleaned"), device.cleanings, times);
    let since = device.motion_hours_since_cleaning;
    sheet.maybe(("motion-hours-since-cleaning", "motion since cleaning"), since, hours);
}

fn about_volume(sheet: &mut Sheet, volume: &VolumeStatistics) {
    let bytes = |bytes: u64| ByteCount(bytes).to_string();
    let rated = |count: Option<u64>, of: Option<u64>| {
        let rate = count.zip(of).and_then(|(count, bytes)| per_terabyte(count, bytes));
        move |count| with_rate(count, rate)
    };
    sheet.maybe(("mounts", "threaded"), volume.mounts, times);
    sheet.maybe(("bytes-written", "written"), volume.bytes_written, bytes);
    sheet.maybe(("bytes-read", "read"), volume.bytes_read, bytes);
    let (written, read) = (volume.bytes_written, volume.bytes_read);
    let errors = volume.recovered_write_errors;
    let words = rated(errors, written);
    sheet.maybe(("recovered-write-errors", "recovered write errors"), errors, words);
    let errors = volume.write_errors;
    sheet.maybe(("write-errors", "write errors"), errors, rated(errors, written));
    let errors = volume.recovered_read_errors;
    sheet.maybe(("recovered-read-errors", "recovered read errors"), errors, rated(errors, read));
    let errors = volume.read_errors;
    sheet.maybe(("read-errors", "read errors"), errors, rated(errors, read));
    let life = volume.life_remaining;
    sheet.maybe(("life-remaining-percent", "life left"), life, |percent| format!("{percent} %"));
    sheet.maybe(("beginning-passes", "beginning passed the head"), volume.beginning_passes, times);
    sheet.maybe(("middle-passes", "middle passed the head"), volume.middle_passes, times);
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{} times", Count(count)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::Alerts;

    #[test]
    fn the_gravest_comes_first_and_cleaning_is_said_once() {
        let raised = |numbers: &[u8]| {
            let alerts = numbers.iter().map(|&number| Alert::new(number).unwrap());
            Some(alerts.fold(Alerts::default(), Alerts::with))
        };
        let health = Health {
            alerts: raised(&[3, 10, 20, 49]),
            cleaning: Cleaning::Required,
            ..Health::default()
        };
        let found = findings(&health);
        let grades: Vec<&str> = found.iter().map(|finding| finding.grade.name()).collect();
        assert_eq!(grades, ["critical", "warning", "unrated", "information"]);
        assert_eq!(found[0].advice, advice::CLEAN);
        let asked =
            Health { cleaning: Cleaning::Requested, alerts: raised(&[]), ..Health::default() };
        assert_eq!(findings(&asked)[0].what, "it asks to be cleaned");
        assert!(findings(&Health::default()).is_empty());
    }

    #[test]
    fn rates_have_three_digits() {
        for (rate, text) in
            [(0.0, "0"), (0.126, "0.13"), (12.34, "12.3"), (999.6, "1,000"), (123_456.0, "123,456")]
        {
            assert_eq!(rounded(rate), text);
        }
    }
}
