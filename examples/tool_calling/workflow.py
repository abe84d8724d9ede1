"""The workflow: pick tasks, let each user's assistant choose a call, carry it out, grade it.

Users are served side by side; the questions of one user in the order they are asked, because the
assistant remembers what it chose before.
"""

import time

import nalar
from examples.tool_calling import grade as grading
from examples.tool_calling import tasks, toolbox
from examples.tool_calling.llm import InvalidAnswer, ModelSettings, NoAnswer, choose_call
from examples.tool_calling.records import (
    Attempt,
    Exchange,
    Execution,
    Question,
    Row,
    Summary,
    Task,
    Usage,
    Verdict,
)


class Assistant(nalar.Agent, stateful=True):
    """Chooses a function and its arguments for a question. Each session has its own."""

    history: nalar.ManagedList[Exchange]

    @nalar.method
    async def choose(self, question: Question) -> Attempt:
        """Ask the model; what it chose is remembered for the questions after this one."""
        started_s = time.perf_counter()
        call, problem, usage, answered = None, "", Usage(), True
        # One question without a good answer is graded as wrong; it does not end the run.
        try:
            choice = await choose_call(ModelSettings.from_environment(), question, self.history)
            call, usage = choice.call, choice.usage
            self.history.append(Exchange(question=question.text, call=call))
        except InvalidAnswer as error:
            problem, usage = str(error), error.usage
        except NoAnswer as error:
            problem, answered = str(error), False
        return Attempt(
            call=call,
            problem=problem,
            answered=answered,
            usage=usage,
            latency_s=time.perf_counter() - started_s,
            worker=nalar.context().worker,
        )


@nalar.tool
def pick_tasks(count: int, source: tasks.Source) -> list[Task]:
    """Return the first tasks of a source."""
    return list(tasks.pick(count, source))


@nalar.tool
def execute(question: Question, attempt: Attempt) -> Execution:
    """Carry the chosen call out, if its function is implemented here."""
    if attempt.call is None:
        return Execution(executed=False, note=attempt.problem)
    return toolbox.execute(question, attempt.call)


@nalar.tool
def grade(task: Task, attempt: Attempt) -> Verdict:
    """Compare the chosen call with the right ones."""
    if attempt.call is None:
        return Verdict(right=False, reason=attempt.problem)
    return grading.grade(task.question, task.answer, attempt.call)


@nalar.workflow
async def tool_calling(count: int = 20, source: tasks.Source = "bfcl") -> Summary:
    """Run the first `count` tasks of a source and say how many were right."""
    picked = await pick_tasks(count, source)
    # All calls are made at once: an attempt is handed on before it is there.
    attempts = [Assistant.options(session=task.user).choose(task.question) for task in picked]
    pairs = list(zip(picked, attempts, strict=True))
    executions = [execute(task.question, attempt) for task, attempt in pairs]
    verdicts = [grade(task, attempt) for task, attempt in pairs]
    rows = [
        Row(task=task.question.id, user=task.user, attempt=attempt, execution=done, verdict=verdict)
        for task, attempt, done, verdict in zip(
            picked,
            await nalar.gather(*attempts),
            await nalar.gather(*executions),
            await nalar.gather(*verdicts),
            strict=True,
        )
    ]
    right = sum(row.verdict.right for row in rows)
    return Summary(right=right, total=len(rows), rows=tuple(rows))
