SELECT crystal.i_images.inspectid, crystal.i_images.imagename
FROM crystal.i_images
WHERE crystal.i_images.inspectid IN (:inspectid_1_1, :inspectid_1_2);

INSERT INTO crystal.i_images (inspectid, imagename) VALUES (:inspectid, :imagename);

