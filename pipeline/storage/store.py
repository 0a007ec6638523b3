"""The store: one repository for each kind of record, all in one database."""

from __future__ import annotations

from pipeline.storage.alerts import AlertRepository
from pipeline.storage.batches import BatchRepository
from pipeline.storage.dashboard import DashboardRepository
from pipeline.storage.engine import Database
from pipeline.storage.leases import LeaseRepository
from pipeline.storage.models import ModelRepository
from pipeline.storage.observations import ObservationRepository
from pipeline.storage.outbox import OutboxRepository
from pipeline.storage.recipes import RecipeRepository
from pipeline.storage.run_lineage import LineageRepository
from pipeline.storage.runs import RunRepository
from pipeline.storage.sample_paths import SamplePathRepository
from pipeline.storage.scores import ScoreRepository


class Store:
    """The repositories of one database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.recipes = RecipeRepository(database)
        self.batches = BatchRepository(database)
        self.observations = ObservationRepository(database)
        self.models = ModelRepository(database)
        self.leases = LeaseRepository(database)
        self.runs = RunRepository(database)
        self.lineage = LineageRepository(database)
        self.sample_paths = SamplePathRepository(database)
        self.scores = ScoreRepository(database)
        self.outbox = OutboxRepository(database)
        self.alerts = AlertRepository(database)
        self.dashboard = DashboardRepository(database)
