"""One URL an action."""

from django.urls import path

from reviewer.views import (
    audit,
    bulk,
    datasets,
    duplicates,
    explorer,
    focus,
    grid,
    images,
    me,
    overview,
    releases,
    review,
    runs,
    settings,
    sign_in,
    sources,
)

urlpatterns = [
    path("", datasets.datasets, name="datasets"),
    path("sign-in/", sign_in.sign_in, name="sign_in"),
    path("sign-in/<int:pk>/<str:token>/", sign_in.sign_in_link, name="sign_in_link"),
    path("sign-out/", sign_in.sign_out, name="sign_out"),
    path("me/", me.me, name="me"),
    path("me/theme/", me.theme, name="me_theme"),
    path("me/shield/", me.shield, name="me_shield"),
    path("me/comfort/", me.comfort, name="me_comfort"),
    path("me/defaults/", me.defaults, name="me_defaults"),
    path("me/reveal/", me.reveal, name="me_reveal"),
    path("runs/", runs.runs, name="runs"),
    path("runs/<int:pk>/", runs.run, name="run"),
    path("runs/<int:pk>/progress/", runs.progress, name="run_progress"),
    path("runs/<int:pk>/stop/", runs.stop, name="run_stop"),
    path("d/<slug:slug>/", overview.overview, name="overview"),
    path("d/<slug:slug>/score/", runs.score, name="score"),
    path("d/<slug:slug>/find-issues/", runs.find_issues, name="find_issues"),
    path("d/<slug:slug>/settings/", settings.settings, name="settings"),
    path("d/<slug:slug>/settings/quality/", settings.quality, name="settings_quality"),
    path("d/<slug:slug>/rerank/", runs.rerank, name="rerank"),
    path("d/<slug:slug>/order/", runs.order_queue, name="order_queue"),
    path("d/<slug:slug>/review/", review.review, name="review"),
    path("d/<slug:slug>/review/claim/", review.claim, name="review_claim"),
    path("d/<slug:slug>/review/undo/", review.undo, name="review_undo"),
    path("d/<slug:slug>/review/leave/", review.leave, name="review_leave"),
    path("d/<slug:slug>/review/<int:item_id>/verdict/", review.verdict, name="review_verdict"),
    path("d/<slug:slug>/review/<int:item_id>/skip/", review.skip, name="review_skip"),
    path("d/<slug:slug>/review/<int:item_id>/separate/", review.separate, name="review_separate"),
    path("d/<slug:slug>/review/grid/", grid.grid, name="grid"),
    path("d/<slug:slug>/review/grid/claim/", grid.claim, name="grid_claim"),
    path("d/<slug:slug>/review/grid/settle/", grid.settle, name="grid_settle"),
    path("d/<slug:slug>/review/grid/leave/", grid.leave, name="grid_leave"),
    path("d/<slug:slug>/review/next/", focus.next_items, name="review_next"),
    path("d/<slug:slug>/review/verdicts/", focus.verdicts, name="review_verdicts"),
    path("d/<slug:slug>/review/take-back/", focus.take_back, name="review_take_back"),
    *(
        path(f"d/<slug:slug>/review/<int:item_id>/{what}/", focus.around, {"what": what}, name=f"review_{what}")
        for what in ("group", "neighbours", "history")
    ),
    path("d/<slug:slug>/audit/", audit.audit, name="audit"),
    path("d/<slug:slug>/audit/draw/", audit.draw, name="audit_draw"),
    path("d/<slug:slug>/audit/estimate/", audit.estimate, name="audit_estimate"),
    path("d/<slug:slug>/duplicates/", duplicates.duplicates, name="duplicates"),
    path("d/<slug:slug>/duplicates/<int:centre>/decide/", duplicates.decide, name="duplicates_decide"),
    path("d/<slug:slug>/sources/", sources.sources, name="sources"),
    path("d/<slug:slug>/sources/<int:pk>/decide/", sources.decide, name="source_decide"),
    path("d/<slug:slug>/bulk/<int:pk>/revert/", bulk.revert, name="bulk_revert"),
    path("d/<slug:slug>/images/", explorer.images, name="images"),
    path("d/<slug:slug>/images/count/", explorer.count, name="images_count"),
    path("d/<slug:slug>/images/act/", explorer.act, name="images_act"),
    path("d/<slug:slug>/images/list.csv", explorer.export, name="images_export"),
    path("d/<slug:slug>/images/<int:pk>/", images.image, name="image"),
    path("d/<slug:slug>/images/<int:pk>/file", images.image_file, name="image_file"),
    path("d/<slug:slug>/images/<int:pk>/thumb", images.image_thumbnail, name="image_thumbnail"),
    path("d/<slug:slug>/releases/", releases.releases, name="releases"),
    path("d/<slug:slug>/releases/cut/", releases.cut, name="release_cut"),
    path("d/<slug:slug>/releases/<int:pk>/export/", releases.export, name="release_export"),
]

handler400 = "reviewer.views.errors.bad_request"
handler403 = "reviewer.views.errors.forbidden"
handler404 = "reviewer.views.errors.not_found"
handler500 = "reviewer.views.errors.server_error"
