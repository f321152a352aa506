"""Area RUN: tasks that an invocation leaves behind. The demo's task posts one text, and the inbox takes it or not."""

from __future__ import annotations

import pytest

from conformance.client.invocations import as_declared
from conformance.vocabulary.demo import wait_for_posts
from conformance.vocabulary.expect import expect


class Jobs:
    """The tasks of one target, by the names of those that they post to."""

    def __init__(self, session, upstream):
        self.session, self.upstream = session, upstream

    def token(self, name):
        return f"phone:{self.upstream.nonce} {name}"

    def asked(self, *names):
        """What asks the demo to schedule a task for each name."""
        return {"tasks": [{"to": self.token(name), "role": "assistant", "text": f"for {name}"} for name in names]}

    def schedule(self, *names):
        self.upstream.says("A herring")
        return self.session.invoke("What is silver?", demo=self.asked(*names))

    def state(self, name):
        """How the task ended."""
        ended = wait_for_posts(self.session, self.upstream, 1, f'"task": "{self.token(name)}"')
        return ended[0].body.get("state")

    def runs(self, name):
        """How often it was run."""
        return sum(post.body.get("to") == self.token(name) for post in self.upstream.posts)


@pytest.fixture
def jobs(session, upstream):
    return Jobs(session, upstream)


@pytest.mark.requirement(id="RUN-001")
def test_task_is_not_waited_for(jobs, session, upstream, streamed, target):
    """Scheduling a task waits for nothing: the invocation is answered while its task is still running."""
    upstream.says("A herring")
    upstream.holds_posts(when=jobs.token("a"))
    pending = session.start_invocation("What is silver?", stream=streamed, demo=jobs.asked("a"))
    wait_for_posts(session, upstream, 1, jobs.token("a"))

    expect(as_declared(pending.reply(), target).text).equals("A herring", "the answer")


@pytest.mark.requirement(id="RUN-002")
def test_task_succeeds(jobs):
    """A task that succeeds is run once, and ends as `succeeded`."""
    jobs.schedule("a")

    expect(jobs.state("a")).equals("succeeded", "the state")
    expect(jobs.runs("a")).equals(1, "runs")


@pytest.mark.requirement(id="RUN-003")
def test_task_is_tried_again(jobs, upstream):
    """A task that fails twice and then succeeds is run three times, and ends as `succeeded`."""
    upstream.refuses_posts(2, when=jobs.token("a"))

    jobs.schedule("a")

    expect(jobs.state("a")).equals("succeeded", "the state")
    expect(jobs.runs("a")).equals(3, "runs")


@pytest.mark.requirement(id="RUN-004")
def test_task_is_given_up(jobs, upstream):
    """A task that never succeeds is run five times, and ends as `failed`."""
    upstream.refuses_posts(100, when=f'"to": "{jobs.token("a")}"')

    jobs.schedule("a")

    expect(jobs.state("a")).equals("failed", "the state")
    expect(jobs.runs("a")).equals(5, "runs")


@pytest.mark.requirement(id="RUN-005")
def test_tasks_are_apart(jobs, upstream):
    """A task that fails keeps no other from running."""
    upstream.refuses_posts(100, when=f'"to": "{jobs.token("a")}"')
    upstream.holds_posts(when=f'"to": "{jobs.token("b")}"')

    jobs.schedule("a", "b", "c")

    expect(jobs.state("c")).equals("succeeded", "the state of a task behind one that fails and one that waits")
