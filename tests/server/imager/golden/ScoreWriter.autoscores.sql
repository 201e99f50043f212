SELECT crystal.i_autoscores.inspectid, crystal.i_autoscores.xtal_rank_score, crystal.i_autoscores.xtal_clear_score, crystal.i_autoscores.xtal_good_bad_score
FROM crystal.i_autoscores
WHERE crystal.i_autoscores.inspectid IN (:inspectid_1_1, :inspectid_1_2);

