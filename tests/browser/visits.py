"""A page open in the browser; tabs are used again, as a new one costs more CPU than most tests."""

PROFILE = ["--profile", "sglang-0.4.6.post4", "--seed", "7", "--device", "cpu"]


class Visit:
    """A page open in the browser, and what happened while it loaded.

    `is_fresh` gives it a process of its own, from which `cpu_ms` counts.
    """

    def __init__(self, browser, path, width=1280, scheme="light", is_fresh=False, **options):
        options = {
            "viewport": {"width": width, "height": 800},
            "color_scheme": scheme,
            **options,
        }
        self._idle = browser.idle_tabs.setdefault(repr(options), [])
        self.page = None if is_fresh or not self._idle else self._idle.pop()
        if self.page is None:
            self.page = browser.new_context(**options).new_page()
            self.page.route(lambda url: not url.startswith("file://"), lambda route: route.abort())
        self.context = self.page.context
        self.requests, self.problems = [], []
        self._listeners = {
            "request": lambda request: self.requests.append(request.url),
            "console": lambda message: self.problems.append(message.text),
            "pageerror": lambda error: self.problems.append(str(error)),
        }
        for event, listener in self._listeners.items():
            self.page.on(event, listener)
        self.page.goto(path.as_uri())

    def __enter__(self):
        return self

    def cpu_ms(self):
        """CPU time that the page's process has had since it began, all threads together."""
        tools = self.context.new_cdp_session(self.page)
        tools.send("Performance.enable")
        metrics = tools.send("Performance.getMetrics")["metrics"]
        return 1000 * next(each["value"] for each in metrics if each["name"] == "ProcessTime")

    def __exit__(self, failure, *_):
        if failure or len(self.context.pages) > 1:
            self.context.close()
            return
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)
        self.page.emulate_media(media="null")
        self.page.goto("about:blank")
        self._idle.append(self.page)
