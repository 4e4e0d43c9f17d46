"""What a person sees: the real browser, the real cloud, a real station, a network that goes away and comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aquasmart_cloud.web import figures
from demo.faults import canned
from tests.browser.browser import Browser
from tests.integration.world import World, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.needs("chromium")]

TOTAL = "#fleet-total"
ROW = "#stations tbody tr[data-key=demo-1]"
UNAVAILABLE = canned(503)
MINUTES_PICTURED = 9
LOOKS = ((1280, "light", ""), (1280, "dark", "-dark"), (390, "light", "-phone"), (390, "dark", "-phone-dark"))
IN_THE_DOCUMENTS = {"sign-in", "fleet", "fleet-dark", "fleet-phone", "station", "station-phone-dark"}


def test_the_volume_moves_without_a_reload_through_an_outage_and_balances_exactly(
    world: World, browser: Browser, make_link: Callable[[], str]
) -> None:
    browser.open(make_link())
    assert browser.driver.current_url == f"{world.site.url}/"
    browser.run("window.theSamePage = true")
    browser.eventually(lambda: browser.text("#live") == "Live", "the page is live")
    first = browser.eventually(lambda: browser.volume_ul(TOTAL), "the first volume")
    browser.eventually(lambda: browser.volume_ul(TOTAL) > first, "the volume moves")
    assert "Online" in browser.text(ROW)

    world.relay.set_state("cut")
    behind = eventually(lambda: (s := world.site.status())["pending"] > 20 and s, "the backlog grows")
    held_ul = browser.volume_ul(TOTAL)
    assert held_ul < behind["log_ul"], "what the station holds is not in the cloud yet"

    world.relay.set_state("pass")
    browser.eventually(lambda: browser.volume_ul(TOTAL) > behind["log_ul"], "the backlog has drained onto the page")

    world.with_pattern("idle")
    counted = eventually(lambda: balanced(world), "meter, log and cloud are equal")
    browser.eventually(lambda: browser.volume_ul(TOTAL) == counted, "the page shows exactly that")
    assert browser.run("return window.theSamePage") is True
    assert "In balance" in browser.text(ROW)
    assert browser.complaints() == []


def balanced(world: World) -> int | None:
    """The volume, once the meter's last count is in the log and the three agree."""
    if not world.logged_all():
        return None
    status, totals = world.site.status(), world.site.totals()
    agree = status["pending"] == 0 and status["meter_ul"] == status["log_ul"] == totals["volume_ul"]
    return int(totals["volume_ul"]) if agree and totals["volume_ul"] else None


def test_a_backlog_shows_on_the_page_while_it_drains(
    world: World, browser: Browser, make_link: Callable[[], str]
) -> None:
    browser.open(make_link())
    browser.eventually(lambda: browser.volume_ul(TOTAL), "the first volume")
    world.site.stop("sync")
    eventually(lambda: world.site.status()["pending"] > 100, "the backlog grows")
    # The cloud learns of a backlog by the heartbeat, which is let through while the log's batches are not.
    world.relay.policy = lambda exchange: None if exchange.target.startswith("/v1/heartbeat") else UNAVAILABLE
    world.site.start("sync")
    browser.eventually(lambda: "events, oldest" in browser.text(f"{ROW} .c-backlog"), "the page shows the backlog")
    world.relay.policy = None
    browser.eventually(lambda: "oldest" not in browser.text(f"{ROW} .c-backlog"), "the page shows that it has drained")


def test_the_link_works_once_and_sign_out_ends_it(world: World, browser: Browser, make_link: Callable[[], str]) -> None:
    link = make_link()
    browser.open(link)
    browser.click("header form button")
    browser.eventually(lambda: browser.driver.current_url == f"{world.site.url}/sign-in", "signed out")
    browser.open(link)
    assert "has been used" in browser.text(".problem")
    browser.open(f"{world.site.url}/")
    assert browser.driver.current_url == f"{world.site.url}/sign-in"
    token = (world.site.root / "cloud" / "admin.token").read_text().strip()
    browser.driver.find_element("id", "token").send_keys(token + "\n")
    browser.eventually(lambda: browser.driver.current_url == f"{world.site.url}/", "signed in by the token")


def test_a_lost_cloud_is_said_and_found_again(world: World, browser: Browser, make_link: Callable[[], str]) -> None:
    browser.open(make_link())
    browser.eventually(lambda: browser.text("#live") == "Live", "the page is live")
    world.site.kill("cloud")
    browser.eventually(lambda: browser.text("#live").startswith("No connection"), "the page says that it is not live")
    world.site.start("cloud")
    browser.eventually(lambda: browser.text("#live") == "Live", "and comes back by itself, still signed in")


def test_the_station_page_and_its_chart(world: World, browser: Browser, make_link: Callable[[], str]) -> None:
    browser.open(make_link())
    browser.eventually(lambda: browser.volume_ul(TOTAL), "the first volume")
    browser.click(f"{ROW} a")
    browser.eventually(lambda: browser.driver.find_elements("css selector", "#chart canvas"), "the chart is drawn")
    browser.eventually(lambda: browser.volume_ul("#station-total") > 0, "the station's volume")
    assert "450 counts/L" in browser.text("[data-list=intervals]")
    assert "tap-1" in browser.text("[data-list=streams]")
    browser.driver.find_element("id", "chart").send_keys("\ue012")
    browser.eventually(lambda: " L" in browser.text("#readout"), "the arrow keys read the chart")
    assert browser.complaints() == []


def test_an_alert_comes_and_goes_by_itself(world: World, browser: Browser, make_link: Callable[[], str]) -> None:
    site = world.site
    site.cloud("alerts", "set", "offline.after_s=20", "offline.clear_s=1")
    site.worker = True
    site.start("worker")
    browser.open(make_link())
    browser.eventually(lambda: browser.volume_ul(TOTAL), "the first volume")
    assert browser.text("#alerts") == "", "nothing is wrong"
    site.stop("sync")
    eventually(lambda: "Station offline" in browser.text("#alerts"), "the alert is there", timeout_s=90)
    assert "demo-1" in browser.text("#alerts .alert-head")
    assert "check this one's power and network" in browser.text("#alerts")
    site.start("sync")
    eventually(lambda: browser.text("#alerts") == "", "the alert is over", timeout_s=120)
    assert browser.complaints() == []


def test_without_scripts_the_page_says_the_same(world: World, browser: Browser, make_link: Callable[[], str]) -> None:
    eventually(lambda: world.site.totals()["volume_ul"], "a volume in the cloud")
    browser.scripts(allowed=False)
    browser.open(make_link())
    assert browser.volume_ul(TOTAL) > 0
    assert "Online" in browser.text(ROW)


def test_figures_read_the_same_from_server_and_browser(
    world: World, browser: Browser, make_link: Callable[[], str]
) -> None:
    browser.open(make_link())
    volumes = [0, 1, 999_999, 1_000_000, 1_234_567_890, 2**53 + 1, 2**62 + 7, -5, -1_000_000_001]
    ages = [0, 119, 120, 7_199, 7_200, 172_799, 172_800]
    minutes = [[60_000 * n, 7**n] for n in range(1, 20)]
    shown = browser.run(
        """
        const [volumes, ages, minutes] = arguments;
        const format = await import("/static/js/format.js");
        const text = '{"n": [' + volumes + '], "s": "12345678901234567890, \\\\" 1"}';
        const parsed = format.parse(text);
        return [parsed.n.map(format.plainLitres), ages.map(format.duration), format.sparkPath(minutes, 1200000),
          parsed.s, [format.backlog(null), format.backlog(0, 0), format.backlog(1, 5), format.backlog(12345, 180)]];
        """,
        ",".join(map(str, volumes)),
        ages,
        minutes,
    )
    assert shown[0] == [figures.plain_litres(volume) for volume in volumes]
    assert shown[1] == [figures.duration(age) for age in ages]
    assert shown[2] == figures.spark_path(minutes, 1_200_000)
    assert shown[3] == '12345678901234567890, " 1'
    assert shown[4] == [figures.backlog(*of) for of in ((None, None), (0, 0), (1, 5), (12_345, 180))]


@pytest.mark.timeout(900)
def test_nothing_is_cut_off_on_any_screen(
    world: World, browser: Browser, make_link: Callable[[], str], pictures: Path | None
) -> None:
    site = world.site
    browser.open(f"{site.url}/sign-in")
    look(browser, pictures, "sign-in")
    browser.open(make_link())
    browser.eventually(lambda: browser.volume_ul(TOTAL) > 1_000_000, "a litre")
    if pictures:
        let_people_pour(world, browser)
    for width, theme, suffix in LOOKS:
        browser.size(width, 860)
        browser.theme(theme)
        browser.open(f"{site.url}/")
        browser.eventually(lambda: browser.text("#live") == "Live", "the fleet page is live")
        look(browser, pictures, f"fleet{suffix}")
        browser.open(f"{site.url}/stations/demo-1")
        browser.eventually(lambda: browser.driver.find_elements("css selector", "#chart canvas"), "the chart is drawn")
        look(browser, pictures, f"station{suffix}")


def let_people_pour(world: World, browser: Browser) -> None:
    """Some minutes of ordinary use, so that a picture shows what an operator sees."""
    world.with_pattern("pours")
    bars = "return document.querySelector('.hero-chart path').getAttribute('d').split('M').length - 1"
    eventually(lambda: browser.run(bars) > MINUTES_PICTURED, "minutes with water", timeout_s=840, every_s=5)


def look(browser: Browser, pictures: Path | None, name: str) -> None:
    """No sideways scrolling, and a picture when one is wanted."""
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than the screen"
    if pictures and name in IN_THE_DOCUMENTS:
        browser.picture(pictures / f"{name}.png")
