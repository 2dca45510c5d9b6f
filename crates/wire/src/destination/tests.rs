//! Spellings of destinations that are rejected, and ordinary ones that are not.
use super::*;
fn parse(text: &str) -> Result<Destination<'_>, InvalidDestination> {
    Destination::parse(text.as_bytes())
}
#[test]
fn ambiguous_spellings_are_rejected() {
    use InvalidDestination::*;
    let vectors = [
        ("", Empty),
        (":80", Empty),
        ("2130706433", AmbiguousAddress),
        ("2130706433:80", AmbiguousAddress),
        ("0", AmbiguousAddress),
        ("1", AmbiguousAddress),
        ("127.1", AmbiguousAddress),
        ("127.0.1", AmbiguousAddress),
        ("10.1", AmbiguousAddress),
        ("0177.0.0.1", AmbiguousAddress),
        ("127.0.0.01", AmbiguousAddress),
        ("127.00.0.1", AmbiguousAddress),
        ("0127.0.0.1", AmbiguousAddress),
        ("017700000001", AmbiguousAddress),
        ("0x7f000001", AmbiguousAddress),
        ("0X7F000001", AmbiguousAddress),
        ("0x7f.0.0.1", AmbiguousAddress),
        ("0x7f.0x0.0x0.0x1", AmbiguousAddress),
        ("127.0.0.0x1", AmbiguousAddress),
        ("0x7f.1", AmbiguousAddress),
        ("0xa9fea9fe", AmbiguousAddress),
        ("2852039166", AmbiguousAddress),
        ("0xA9.0xFE.0xA9.0xFE", AmbiguousAddress),
        ("0251.0376.0251.0376", AmbiguousAddress),
        ("169.254.43518", AmbiguousAddress),
        ("169.16689662", AmbiguousAddress),
        ("256.256.256.256", AmbiguousAddress),
        ("127.0.0.256", AmbiguousAddress),
        ("1.2.3.4.5", AmbiguousAddress),
        ("4294967296", AmbiguousAddress),
        ("425.510.425.510", AmbiguousAddress),
        ("0x", AmbiguousAddress),
        ("a.0x", AmbiguousAddress),
        ("example.1", AmbiguousAddress),
        ("example.0x1", AmbiguousAddress),
        ("127.0.0.1.", AmbiguousAddress),
        ("2130706433.", AmbiguousAddress),
        ("000.000.000.000", AmbiguousAddress),
        ("00000000000000000000000127.0.0.1", AmbiguousAddress),
        ("0x000000000000007f.0.0.1", AmbiguousAddress),
        ("0b1111111.0.0.1", AmbiguousAddress),
        (".127.0.0.1", AmbiguousAddress),
        ("127..0.1", AmbiguousAddress),
        ("example.com.", TrailingDot),
        ("example.com.:443", TrailingDot),
        ("localhost.", TrailingDot),
        ("metadata.google.internal.", TrailingDot),
        ("example..com", Label),
        (".example.com", Label),
        ("example.com..", TrailingDot),
        ("-example.com", Label),
        ("example-.com", Label),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.com", Label),
        (
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            Length,
        ),
        ("user@example.com", UserInformation),
        ("user:pass@example.com:80", UserInformation),
        ("example.com@127.0.0.1", UserInformation),
        ("example.com:80@127.0.0.1:80", UserInformation),
        ("@127.0.0.1", UserInformation),
        ("127.0.0.1@", UserInformation),
        ("example.com%40127.0.0.1", Percent),
        ("allowed.test:443@evil.test", UserInformation),
        ("example.com/", Character),
        ("example.com\\@127.0.0.1", Character),
        ("example.com#@127.0.0.1", Character),
        ("example.com?x", Character),
        ("127.0.0.1\t", Character),
        (" 127.0.0.1", Character),
        ("example.com ", Character),
        ("exa mple.com", Character),
        ("example.com\r\nHost: a", Character),
        ("example.com\0.allowed.test", Character),
        ("http://127.0.0.1", Character),
        ("*.example.com", Character),
        ("example.com,127.0.0.1", Character),
        ("example.com;127.0.0.1", Character),
        ("127。0。0。1", NotAscii),
        ("%31%32%37.0.0.1", Percent),
        ("127%2e0%2e0%2e1", Percent),
        ("example%2ecom", Percent),
        ("example.com%00", Percent),
        ("münchen.de", NotAscii),
        ("ⓔxample.com", NotAscii),
        ("①②⑦.⓪.⓪.①", NotAscii),
        ("１２７.0.0.1", NotAscii),
        ("example。com", NotAscii),
        ("аpple.com", NotAscii),
        ("example.com\u{ad}", NotAscii),
        ("ex\u{200b}ample.com", NotAscii),
        ("ﬁle.example.com", NotAscii),
        ("::1", InvalidIpv6),
        ("::1:80", InvalidIpv6),
        ("[::1", InvalidIpv6),
        ("::1]", InvalidIpv6),
        ("[]", InvalidIpv6),
        ("[127.0.0.1]", InvalidIpv6),
        ("[::g]", InvalidIpv6),
        ("[fe80::1%eth0]", Percent),
        ("[fe80::1%25eth0]", Percent),
        ("[::1%1]", Percent),
        ("[v1.a:b]", InvalidIpv6),
        ("[0:0:0:0:0:0:0:0:1]", InvalidIpv6),
        ("[::1]x", Port),
        ("[::1]80", Port),
        ("[[::1]]", InvalidIpv6),
        ("[::ffff:127.0.0.1]", EmbeddedAddress),
        ("[::ffff:7f00:1]", EmbeddedAddress),
        ("[0:0:0:0:0:ffff:7f00:0001]", EmbeddedAddress),
        ("[::127.0.0.1]", EmbeddedAddress),
        ("[::7f00:1]", EmbeddedAddress),
        ("[::ffff:0:127.0.0.1]", EmbeddedAddress),
        ("[64:ff9b::127.0.0.1]", EmbeddedAddress),
        ("[64:ff9b::7f00:1]", EmbeddedAddress),
        ("[64:ff9b::a9fe:a9fe]", EmbeddedAddress),
        ("[64:ff9b:1::7f00:1]", EmbeddedAddress),
        ("[2002:7f00:1::]", EmbeddedAddress),
        ("[2002:a9fe:a9fe::1]", EmbeddedAddress),
        ("[2001::7f00:1]", EmbeddedAddress),
        ("[2001:0:4136:e378:8000:63bf:3fff:fdd2]", EmbeddedAddress),
        ("[::ffff:169.254.169.254]:80", EmbeddedAddress),
        ("[2001:db8::127.0.0.1]", EmbeddedAddress),
        ("[::FFFF:8.8.8.8]", EmbeddedAddress),
        ("[2606:4700:0::1]", Spelling),
        ("[2606:4700:0:0:0:0:0:1]:80", Spelling),
        ("[2606:4700::0001]", Spelling),
        ("[FE80::1]:8080", Spelling),
        ("example.com:", Port),
        ("example.com:0", Port),
        ("example.com:65536", Port),
        ("example.com:99999", Port),
        ("example.com:080", Port),
        ("example.com:+80", Character),
        ("example.com:-80", Port),
        ("example.com:80a", Port),
        ("example.com:0x50", Port),
        ("[2606:4700::1111]:", Port),
        ("[2606:4700::1111]:080", Port),
        ("example.com:443:80", InvalidIpv6),
    ];
    assert!(vectors.len() >= 80);
    for (text, reason) in vectors {
        assert_eq!(parse(text), Err(reason), "{}", text.escape_debug());
    }
    assert_eq!(Destination::parse(b"\xff.com"), Err(NotAscii));
}

#[test]
fn addresses_and_ports_are_read() {
    let address = |text: &str, port| Ok(Destination { host: DestinationHost::Address(text.parse().unwrap()), port });
    assert_eq!(parse("127.0.0.1"), address("127.0.0.1", None));
    assert_eq!(parse("0.0.0.0:1"), address("0.0.0.0", Some(1)));
    assert_eq!(parse("169.254.169.254:80"), address("169.254.169.254", Some(80)));
    assert_eq!(parse("[::1]"), address("::1", None));
    assert_eq!(parse("[::]:443"), address("::", Some(443)));
    assert_eq!(parse("[fe80::1]:8080"), address("fe80::1", Some(8080)));
    assert_eq!(parse("[2606:4700::1111]:65535"), address("2606:4700::1111", Some(65535)));
    assert_eq!(
        parse("Example.COM:443"),
        Ok(Destination { host: DestinationHost::Name("Example.COM"), port: Some(443) })
    );
}

#[test]
fn ordinary_names_are_not_rejected() {
    let names: Vec<&str> = ORDINARY.split_whitespace().collect();
    assert!(names.len() >= 200, "{}", names.len());
    for name in names {
        assert_eq!(parse(name), Ok(Destination { host: DestinationHost::Name(name), port: None }), "{name}");
        let with_port = format!("{name}:443");
        assert_eq!(parse(&with_port).map(|destination| destination.port), Ok(Some(443)), "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn any_octets_give_a_destination_or_a_reason(octets in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
        let _ = Destination::parse(&octets);
    }

    #[test]
    fn what_is_read_as_an_address_is_written_the_same(octets in proptest::num::u32::ANY) {
        let text = Ipv4Addr::from_bits(octets).to_string();
        proptest::prop_assert_eq!(parse(&text), Ok(Destination { host: DestinationHost::Address(text.parse().unwrap()), port: None }));
    }
}

const ORDINARY: &str = "
    google.com www.google.com mail.google.com docs.google.com accounts.google.com storage.googleapis.com www.googleapis.com
    oauth2.googleapis.com fonts.gstatic.com youtube.com www.youtube.com i.ytimg.com facebook.com www.facebook.com graph.facebook.com
    instagram.com api.instagram.com whatsapp.com web.whatsapp.com twitter.com api.twitter.com x.com t.co linkedin.com www.linkedin.com
    media.licdn.com microsoft.com www.microsoft.com login.microsoftonline.com outlook.office365.com graph.microsoft.com update.microsoft.com
    download.microsoft.com www.w3.org aka.ms live.com bing.com www.bing.com azure.com portal.azure.com management.azure.com
    blob.core.windows.net mycontainer.blob.core.windows.net my-vault.vault.azure.net amazon.com www.amazon.com s3.amazonaws.com
    my-bucket.s3.eu-central-1.amazonaws.com my_bucket.s3.amazonaws.com sts.amazonaws.com sts.eu-west-1.amazonaws.com ec2.us-east-1.amazonaws.com
    dynamodb.us-east-1.amazonaws.com d111111abcdef8.cloudfront.net www.ietf.org datatracker.ietf.org cloudflare.com api.cloudflare.com
    one.one.one.one www.rfc-editor.org cdnjs.cloudflare.com www.iana.org github.com api.github.com raw.githubusercontent.com
    objects.githubusercontent.com codeload.github.com www.icann.org www.mozilla.org gitlab.com developer.mozilla.org bitbucket.org
    api.bitbucket.org git.kernel.org git.savannah.gnu.org www.blender.org www.gimp.org inkscape.org krita.org www.videolan.org
    www.libreoffice.org wiki.archlinux.org www.openbsd.org man.openbsd.org www.freebsd.org www.netbsd.org www.postgresql.org doc.rust-lang.org
    docs.rs www.sqlite.org redis.io go.dev golang.org nginx.org www.haproxy.org httpd.apache.org kafka.apache.org curl.se www.openssl.org
    openstreetmap.org tile.openstreetmap.org nominatim.openstreetmap.org www.nasa.gov api.nasa.gov www.noaa.gov api.weather.gov www.ecmwf.int
    www.esa.int home.cern www.cern.ch arxiv.org export.arxiv.org www.nature.com k8s.io kubernetes.io doi.org api.crossref.org www.gutenberg.org
    www.bbc.co.uk www.theguardian.com www.lemonde.fr www.spiegel.de www.nhk.or.jp www.abc.net.au www.cbc.ca www.gov.uk www.europa.eu
    ec.europa.eu www.bund.de www.admin.ch www.canada.ca www.un.org www.who.int www.worldbank.org ftp.gnu.org kernel.org cdn.kernel.org
    wikipedia.org en.wikipedia.org de.wikipedia.org upload.wikimedia.org commons.wikimedia.org wikidata.org archive.org web.archive.org
    stackoverflow.com api.stackexchange.com reddit.com old.reddit.com news.ycombinator.com lobste.rs medium.com dev.to slack.com hooks.slack.com
    api.slack.com wss-primary.slack.com zoom.us us02web.zoom.us atlassian.com your-domain.atlassian.net id.atlassian.com api.atlassian.com
    pagerduty.com events.pagerduty.com api.pagerduty.com datadoghq.com api.datadoghq.eu http-intake.logs.datadoghq.com newrelic.com
    log-api.newrelic.com sentry.io o123456.ingest.sentry.io grafana.com prometheus-us-central1.grafana.net honeycomb.io api.honeycomb.io
    elastic.co api.worldbank.org splunk.com stripe.com api.stripe.com js.stripe.com paypal.com api.paypal.com api-m.sandbox.paypal.com adyen.com
    twilio.com api.twilio.com sendgrid.com api.sendgrid.com mailgun.org api.mailgun.net www.oecd.org www.imf.org www.ecb.europa.eu www.itu.int
    www.iso.org www.ieee.org letsencrypt.org acme-v02.api.letsencrypt.org ocsp.digicert.com crl3.digicert.com ocsp.pki.goog
    timestamp.digicert.com xn--mnchen-3ya.de xn--bcher-kva.example xn--80ak6aa92e.com xn--p1ai.example nic.xn--p1ai 1.1.1.1.example.org 3com.com
    9gag.com 0x0.st 163.com 126.com 360.cn 1password.com 4chan.org 500px.com 7-zip.org a.b.c.d.e.f.example.net
    very-long-subdomain-name-with-many-hyphens.example-service.eu-central-1.example.com 0xbad.example s3-us-west-2.amazonaws.com 10.example.com
    127.0.0.1.example.com dead.beef.cafe x.y _dmarc.example.com localhost intranet
";
