"""The workflow: pick tasks, let each user's assistant choose a call, carry it out, grade it.

Users are served side by side; the questions of one user in the order they are asked, because the
assistant shows the model the user's last exchanges.
"""

import time

import nalar
from examples.tool_calling import grade as grading
from examples.tool_calling import tasks, toolbox
from examples.tool_calling.llm import InvalidAnswer, ModelSettings, choose_call
from examples.tool_calling.records import (
    Attempt,
    Exchange,
    Execution,
    Question,
    Row,
    Summary,
    Task,
    Verdict,
)

#: Exchanges of the session that the model is shown.
HISTORY_SHOWN = 2


class Assistant(nalar.Agent, stateful=True):
    """Chooses a function and its arguments for a question. Each session has its own."""

    history: nalar.ManagedList[Exchange]

    @nalar.method
    async def choose(self, question: Question) -> Attempt:
        """Ask the model; what it chose is remembered for the questions after this one."""
        started_s = time.perf_counter()
        call, problem = None, ""
        try:
            choice = await choose_call(
                ModelSettings.from_environment(), question, self.history[-HISTORY_SHOWN:]
            )
            call, usage = choice.call, choice.usage
            self.history.append(Exchange(question=question.text, call=call))
        except InvalidAnswer as error:
            problem, usage = str(error), error.usage
        return Attempt(
            call=call,
            problem=problem,
            usage=usage,
            latency_s=time.perf_counter() - started_s,
            worker=nalar.context().worker,
        )


@nalar.tool
def pick_tasks(count: int) -> list[Task]:
    """Return the first tasks of the benchmark."""
    return list(tasks.pick(count))


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
async def tool_calling(count: int = 20) -> Summary:
    """Run the first `count` tasks and say how many were right."""
    picked = await pick_tasks(count)
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
